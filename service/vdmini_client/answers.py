"""What a service answers, as types. Fields of a newer service are ignored, those of an older one may be missing."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FINISHED = ("succeeded", "failed", "cancelled")


class Answer(BaseModel):
    """Anything that a service answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    field: str = Field(description="name of the field")
    detail: str = Field(description="what was got and what is allowed")


class Problem(Answer):
    """An error as RFC 9457 has it (`application/problem+json`)."""

    type: str = Field(default="about:blank", description="stable URI of the kind of problem")
    title: str = Field(default="", description="the kind of problem in words")
    status: int = Field(default=0, description="HTTP status")
    detail: str = Field(default="", description="what was got, what is allowed and what to do next")
    errors: tuple[FieldProblem, ...] = Field(default=(), description="the fields that are wrong, when fields are")
    job: str | None = Field(default=None, description="the job that the problem belongs to, when there is one")

    @property
    def kind(self) -> str:
        """The end of `type`, such as `queue-full`."""
        return self.type.rpartition(":")[2]


class WebhookDelivery(Answer):
    """How the delivery of a job's webhook stands."""

    status: str = Field(description="waiting, pending, delivered or failed")
    attempts: int = Field(default=0, description="how often it was tried")
    last_error: str | None = Field(default=None, description="why the last attempt failed")


class Job(Answer):
    """A job; docs/api.md tells what each field means."""

    id: str = Field(description="32 hexadecimal digits")
    status: str = Field(description="queued -> running -> succeeded | failed | cancelled")
    progress: float = Field(default=0, description="share of the work that is done, 0 to 1")
    task: str = Field(description="i2v or t2v")
    model: str = Field(description="name of the model")
    variant: str = Field(description="vdmini or teacher")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    num_inference_steps: int = Field(description="denoising steps")
    guidance_scale: float = Field(description="1 means no guidance")
    seed: int = Field(description="give it again to get the same clip")
    priority: str = Field(default="normal", description="high, normal or low")
    cost: int | None = Field(default=None, description="frames x pixels x steps")
    queue_position: int | None = Field(default=None, description="jobs before this one; None when it isn't waiting")
    eta_seconds: float | None = Field(default=None, description="expected until it is finished; None when unknown")
    expected_seconds: float | None = Field(default=None, description="such work as measured here; None when unknown")
    choice: str | None = Field(default=None, description="why this model, when the request left it to the service")
    attempts: int = Field(default=0, description="how often a worker has started it")
    created_at: float = Field(description="Unix time in seconds")
    started_at: float | None = Field(default=None, description="Unix time of the last attempt's start")
    finished_at: float | None = Field(default=None, description="Unix time")
    expires_at: float | None = Field(default=None, description="Unix time from which job and clip are removed")
    timings: dict[str, float] = Field(default_factory=dict, description="stage -> seconds")
    baseline_seconds: float | None = Field(default=None, description="the teacher's median for the same work here")
    baseline_samples: int | None = Field(default=None, description="runs behind baseline_seconds")
    baseline_age_seconds: float | None = Field(default=None, description="age of the newest of those runs")
    speedup: float | None = Field(default=None, description="against the teacher; None when it wasn't measured")
    device: str | None = Field(default=None, description="what it ran on")
    size_bytes: int | None = Field(default=None, description="size of the MP4")
    sha256: str | None = Field(default=None, description="hash of the MP4")
    escalated: bool = Field(default=False, description="whether the teacher had to make the clip again")
    escalation_reason: str | None = Field(default=None, description="what was wrong with the first clip")
    error: Problem | None = Field(default=None, description="why it failed")
    webhook: WebhookDelivery | None = Field(default=None, description="of the request's webhook_url")

    @property
    def finished(self) -> bool:
        """Whether the job has reached its last state."""
        return self.status in FINISHED


class JobPage(Answer):
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...] = Field(description="newest first")
    next: str | None = Field(default=None, description="give it as `after` for the next page; None on the last one")


class Limits(Answer):
    """What requests a model can serve; all bounds are inclusive."""

    sizes: tuple[tuple[int, int], ...] = Field(description="allowed (width, height) in pixels")
    min_num_frames: int = Field(description="fewest frames")
    max_num_frames: int = Field(description="most frames")
    min_fps: int = Field(description="fewest frames per second")
    max_fps: int = Field(description="most frames per second")
    num_inference_steps: tuple[int, ...] = Field(description="allowed numbers of denoising steps")
    max_prompt_tokens: int | None = Field(default=None, description="tokens of a prompt, start and end included")


class Model(Answer):
    """A loaded model; docs/api.md tells what each field means."""

    name: str = Field(description="give it as `variant` to pick exactly this model")
    variant: str = Field(description="vdmini or teacher")
    task: str = Field(description="i2v or t2v")
    family: str = Field(description="kind of pipeline")
    teacher: dict[str, Any] = Field(default_factory=dict, description="where the weights came from")
    removed_blocks: tuple[str, ...] = Field(default=(), description="what pruning took out")
    limits: Limits = Field(description="what it can do")
    defaults: dict[str, float] = Field(default_factory=dict, description="what it does when not told")
    cost: dict[str, int] = Field(default_factory=dict, description="parameters, FLOPs and bytes")
    latency: tuple[dict[str, Any], ...] = Field(default=(), description="measured when it was made")
    quality: dict[str, dict[str, float]] = Field(default_factory=dict, description="variant -> measure -> value")
    budgets: dict[str, float] = Field(default_factory=dict, description="bounds of one request beside `limits`")
    expected_seconds: float | None = Field(default=None, description="with the defaults, as measured here")


MODELS = TypeAdapter(tuple[Model, ...])
"""Reads the list of all models."""
