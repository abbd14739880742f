"""`vdmini.json`: what an artifact is, where it came from, what it can do and what was measured on it.

It leaves reading and writing folders to `vdmini.artifact`. It imports neither torch nor diffusers.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
FILE_NAME = "vdmini.json"


class Record(BaseModel):
    """A frozen record that refuses fields it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(Record):
    """What requests a model can serve; all bounds are inclusive."""

    sizes: tuple[tuple[int, int], ...] = Field(description="allowed (width, height) in pixels")
    min_num_frames: int = Field(ge=1)
    max_num_frames: int = Field(ge=1)
    min_fps: int = Field(ge=1)
    max_fps: int = Field(ge=1)
    num_inference_steps: tuple[int, ...] = Field(description="allowed numbers of denoising steps")
    max_prompt_tokens: int | None = Field(default=None, description="text-to-video: tokens, start and end included")


class Defaults(Record):
    """What a request gets where it is silent."""

    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float = Field(description="1 means no guidance; T2V-Turbo's distilled w for LCM models")
    motion_bucket_id: int = 127
    noise_aug_strength: float = 0.02


class TeacherId(Record):
    """Where the weights came from."""

    id: str = Field(description="hub id or folder name")
    revision: str | None = None
    sha256: str = Field(description="hash over the teacher's weight files, in the order of their names")
    licence: str


class Cost(Record):
    """Size and work of the denoiser and of the whole folder."""

    unet_parameters: int
    unet_flops: int = Field(description="of one forward at the default size, 2 per multiply-add, batch 1")
    vae_decoder_parameters: int
    total_bytes: int = Field(description="bytes of all weight files")


class Latency(Record):
    """Latencies measured on one device, teacher and student in turn, in one process."""

    device: str
    dtype: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    runtime: dict[str, Any] = Field(
        default_factory=dict, description="switches of the engine that were on; none where it ran as diffusers loads it"
    )
    runs: int
    seconds: dict[str, dict[str, float]] = Field(description="variant -> stage -> median seconds; stage total included")
    speedup: float = Field(description="median of the paired ratios teacher total / student total")
    speedup_interval: tuple[float, float] = Field(description="95 % bootstrap interval of that median")
    measured_at: str


class Manifest(Record):
    """The whole of `vdmini.json`."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    variant: Literal["vdmini", "teacher"]
    family: str
    task: Literal["i2v", "t2v"]
    teacher: TeacherId
    removed_blocks: tuple[str, ...] = Field(default=(), description="the pruning plan; empty for a teacher")
    limits: Limits
    defaults: Defaults
    cost: Cost
    recipe: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    latency: tuple[Latency, ...] = ()
    quality: dict[str, dict[str, float]] = Field(default_factory=dict, description="variant -> measure -> value")
    files: dict[str, str] = Field(default_factory=dict, description="path -> sha256 of every other file")
