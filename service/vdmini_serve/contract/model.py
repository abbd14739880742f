"""A loaded model as the API knows it: plain data that workers publish. The manifest itself stays with the worker."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from vdmini_serve.contract.disk import Disk
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import Task


class ModelLimits(Record):
    """What requests a model can serve; all bounds are inclusive."""

    sizes: tuple[tuple[int, int], ...] = Field(description="allowed (width, height) in pixels")
    min_num_frames: int = Field(description="fewest frames")
    max_num_frames: int = Field(description="most frames")
    min_fps: int = Field(description="fewest frames per second")
    max_fps: int = Field(description="most frames per second")
    num_inference_steps: tuple[int, ...] = Field(description="allowed numbers of denoising steps")
    max_prompt_tokens: int | None = Field(default=None, description="tokens of a prompt, start and end included")


class ModelDefaults(Record):
    """What a request gets where it is silent."""

    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    num_inference_steps: int = Field(description="denoising steps")
    guidance_scale: float = Field(description="1 means no guidance")
    motion_bucket_id: int = Field(description="amount of motion")
    noise_aug_strength: float = Field(description="noise added to the image")


class ModelTeacher(Record):
    """The uncompressed model that a model is or was made from."""

    id: str = Field(description="hub id or folder name")
    revision: str | None = Field(default=None, description="of the hub's repository")
    sha256: str = Field(description="hash of the teacher's weights: the identity of a baseline")
    licence: str = Field(description="licence of the weights")


class ModelDescriptor(Record):
    """A loaded model with its receipt."""

    name: str = Field(description="give it as `variant` to pick exactly this model")
    variant: Literal["vdmini", "teacher"] = Field(description="compressed or not")
    task: Task = Field(description="i2v or t2v")
    family: str = Field(description="kind of pipeline")
    teacher: ModelTeacher = Field(description="where the weights came from")
    removed_blocks: tuple[str, ...] = Field(description="what pruning took out; empty for a teacher")
    limits: ModelLimits = Field(description="what it can do")
    defaults: ModelDefaults = Field(description="what it does when not told")
    cost: dict[str, int] = Field(description="parameters, FLOPs and bytes")
    latency: tuple[dict[str, Any], ...] = Field(description="measured when it was made, teacher beside student")
    quality: dict[str, dict[str, float]] = Field(description="variant -> measure -> value")


PUBLIC_FIELDS = frozenset(ModelDescriptor.model_fields)
"""The part of a manifest that is published."""


BEATS_UNTIL_DEAD = 5
"""Signs of life that a worker may miss in a row before it counts as gone."""


class WorkerBeat(Record):
    """What a worker says about itself every few seconds.

    Fields that are not known are passed over: while a deployment is upgraded, workers and API differ in age.
    """

    model_config = ConfigDict(extra="ignore")

    id: str = Field(description="one worker process, new at each start")
    state: Literal["loading", "warming", "idle", "busy"] = Field(description="what its child is doing")
    models: tuple[str, ...] = Field(description="names of the loaded models")
    device: str | None = Field(default=None, description="where they run")
    refused: dict[str, str] = Field(default_factory=dict, description="artifacts that cannot be served, and why")
    at: float = Field(description="Unix time of this beat")
    since: float | None = Field(default=None, description="Unix time from which it has been in this state")
    artifacts_disk: Disk | None = Field(default=None, description="the volume of its artifacts; null when unknown")
    gpu_memory_peak_bytes: dict[str, int] = Field(
        default_factory=dict, description="model -> most memory of the GPU that was held while it made a clip"
    )

    @property
    def ready(self) -> bool:
        """Whether jobs are taken."""
        return self.state in ("idle", "busy")
