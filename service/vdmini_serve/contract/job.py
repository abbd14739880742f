"""A job as clients see it, and its form in Redis. How it changes is left to `contract.transitions`."""

import json
from typing import Literal, get_args

from pydantic import Field

from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.outbox import WebhookDelivery, decode_delivery, encode_webhook
from vdmini_serve.contract.problem import Problem
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.ticket import ANYBODY, Ticket, cost_of

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
FINISHED: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
ENGINE_STAGES = ("encode", "denoise", "decode")
STAGES = ("queue", *ENGINE_STAGES, "mp4", "total")
EscalationReason = Literal["not_finite", "one_colour", "still", "flicker"]
ESCALATION_REASONS: tuple[EscalationReason, ...] = get_args(EscalationReason)


class Job(Record):
    """A job; the prompt and the image are left out on purpose."""

    id: str = Field(description="32 hexadecimal digits")
    status: JobStatus = Field(description="queued -> running -> succeeded | failed | cancelled")
    progress: float = Field(ge=0, le=1, description="share of the work that is done")
    task: str = Field(description="i2v or t2v")
    model: str = Field(description="name of the model")
    variant: str = Field(description="vdmini or teacher")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    num_inference_steps: int = Field(description="denoising steps")
    guidance_scale: float = Field(description="1 means no guidance")
    seed: int = Field(description="the seed that was used: give it again to get the same clip")
    priority: Lane = Field(description="high jobs start before normal ones, those before low ones")
    cost: int = Field(description="frames x pixels x steps: what queue limits count")
    queue_position: int | None = Field(
        default=None, description="jobs that are expected to start before this one; null when it isn't waiting"
    )
    eta_seconds: float | None = Field(
        default=None, description="expected until it is finished, from what such jobs took here; null when unknown"
    )
    expected_seconds: float | None = Field(
        description="encode + denoise + decode of such work, as measured when the job was accepted; null when unknown"
    )
    choice: str | None = Field(description="why this model and these steps, when the request left it to the service")
    attempts: int = Field(description="how often a worker has started it")
    created_at: float = Field(description="Unix time in seconds")
    started_at: float | None = Field(description="Unix time when the last attempt started")
    finished_at: float | None = Field(description="Unix time")
    expires_at: float | None = Field(description="Unix time from which the job and its MP4 are removed")
    timings: dict[str, float] = Field(
        description="seconds: queue, encode, denoise, decode, mp4, and total from acceptance to the finished file"
    )
    baseline_seconds: float | None = Field(
        description="median seconds that the uncompressed teacher takes for the same work (encode to decode), measured "
        "on this device; null when it was not measured"
    )
    baseline_samples: int | None = Field(description="runs behind baseline_seconds")
    baseline_age_seconds: float | None = Field(description="age of the newest of those runs when this job finished")
    speedup: float | None = Field(
        description="baseline_seconds / this job's encode + denoise + decode (+ discarded); null when unknown"
    )
    device: str | None = Field(description="what it ran on")
    size_bytes: int | None = Field(description="size of the MP4")
    sha256: str | None = Field(description="hash of the MP4")
    escalated: bool = Field(
        description="whether the compressed model's clip failed the check and the teacher made this one instead; "
        "`model`, `variant` and `timings` are then the teacher's, `timings.discarded` is what the first clip took"
    )
    escalation_reason: EscalationReason | None = Field(description="what was wrong with the compressed model's clip")
    error: Problem | None = Field(description="why it failed")
    webhook: WebhookDelivery | None = Field(default=None, description="of the request's webhook_url, when it had one")

    @property
    def finished(self) -> bool:
        """Whether the job has reached its last state."""
        return self.status in FINISHED


class JobPage(Record):
    """A page of jobs, newest first."""

    jobs: tuple[Job, ...] = Field(description="newest first")
    next: str | None = Field(description="give it as `after` to get the next page; null on the last one")


_SPEC_FIELDS = (
    *("task", "model", "variant", "width", "height", "num_frames", "fps", "num_inference_steps"),
    *("guidance_scale", "seed"),
)


def encode_new(job_id: str, spec: JobSpec, ticket: Ticket, *, created_at: float, ttl_seconds: float) -> dict[str, str]:
    """The Redis hash of a job that was just accepted, to be kept for `ttl_seconds` from its finish."""
    wait = ticket.max_queue_seconds
    return {
        "id": job_id,
        "spec": spec.model_dump_json(),
        "task": spec.task,
        "variant": spec.variant,
        "status": "queued",
        "progress": "0",
        "attempts": "0",
        "published": "0",
        "created_at": repr(created_at),
        "ttl_seconds": repr(ttl_seconds),
        "lane": ticket.lane,
        "owner": ticket.owner,
        "cost": str(cost_of(spec)),
        "start_before": "" if wait is None else repr(created_at + wait),
        "expected_seconds": "" if ticket.expected_seconds is None else repr(ticket.expected_seconds),
        "choice": ticket.choice or "",
        **encode_webhook(ticket.webhook_url),
        "traceparent": ticket.traceparent or "",
    }


def decode_spec(fields: dict[str, str]) -> JobSpec:
    """The work order inside a job's Redis hash."""
    return JobSpec.model_validate_json(fields["spec"])


def owner_of(fields: dict[str, str]) -> str:
    """Id of the API key that sent a job; `ANYBODY` without keys."""
    return fields.get("owner", ANYBODY)


def decode_job(fields: dict[str, str]) -> Job:
    """The client's view of a job's Redis hash."""
    spec = decode_spec(fields).model_dump(include=set(_SPEC_FIELDS))
    result = JobResult.model_validate(json.loads(fields.get("result", "{}"))).model_dump()
    made_by = {name: value for name in ("model", "variant") if (value := result.pop(name)) is not None}
    error = fields.get("error")
    return Job(
        **(spec | made_by),
        id=fields["id"],
        status=fields["status"],
        progress=float(fields["progress"]),
        priority=fields["lane"],
        cost=int(fields["cost"]),
        expected_seconds=_number(fields["expected_seconds"]),
        choice=fields["choice"] or None,
        attempts=int(fields["attempts"]),
        created_at=float(fields["created_at"]),
        started_at=_number(fields.get("started_at")),
        finished_at=_number(fields.get("finished_at")),
        expires_at=_number(fields.get("expires_at")),
        error=Problem.model_validate_json(error) if error else None,
        webhook=decode_delivery(fields),
        **result,
    )


class JobResult(Record):
    """What a finished attempt writes into the job's hash in one piece."""

    timings: dict[str, float] = Field(default_factory=dict, description="stage -> seconds")
    baseline_seconds: float | None = Field(default=None, description="see Job")
    baseline_samples: int | None = Field(default=None, description="see Job")
    baseline_age_seconds: float | None = Field(default=None, description="see Job")
    speedup: float | None = Field(default=None, description="see Job")
    device: str | None = Field(default=None, description="see Job")
    size_bytes: int | None = Field(default=None, description="see Job")
    sha256: str | None = Field(default=None, description="see Job")
    model: str | None = Field(default=None, description="who made the clip")
    variant: str | None = Field(default=None, description="its variant")
    escalated: bool = Field(default=False, description="see Job")
    escalation_reason: EscalationReason | None = Field(default=None, description="see Job")


def _number(text: str | None) -> float | None:
    return float(text) if text else None
