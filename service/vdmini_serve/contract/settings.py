"""Settings from the environment, prefix `VDMINI_`. Nothing is read at import: call `Settings()`."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

REDIS_SCHEMES = ("redis", "rediss")


class Settings(BaseSettings):
    """All settings of API and worker."""

    model_config = SettingsConfigDict(env_prefix="VDMINI_", frozen=True, extra="forbid")

    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="Redis database that carries Celery's messages"
    )
    jobs_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/1"), description="Redis database that holds jobs; not the broker's"
    )
    data_dir: Path = Field(default=Path("/var/lib/vdmini"), description="folder of the MP4s, shared by API and worker")
    artifacts: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="artifact folders that the worker loads, separated like PATH"
    )
    device: str | None = Field(default=None, description="torch device; the first GPU, else the CPU, by default")
    dtype: str | None = Field(
        default=None, description="float32, float16 or bfloat16; by default what suits the device"
    )
    runtime: dict[str, Any] | None = Field(
        default=None,
        description="JSON: switches of the engine (`vdmini.switches.RuntimeSettings`); {} runs as diffusers loads it; "
        "by default what was measured to pay on such a device",
    )

    overlap_mp4: bool | None = Field(
        default=None,
        description="whether a job's MP4 is written while the next job's clip is made; by default on a GPU, since on a "
        "CPU both want the same cores",
    )

    max_upload_bytes: int = Field(default=20 * 2**20, ge=1, description="largest image file")
    max_image_pixels: int = Field(default=40_000_000, ge=1, description="largest image, width x height")
    max_prompt_characters: int = Field(default=2000, ge=1, description="longest prompt")
    max_active_jobs: int = Field(default=200, ge=1, description="jobs queued and running before 429 is answered")
    default_wait_seconds: float = Field(default=60, ge=0, description="how long a POST waits for the clip by default")
    max_wait_seconds: float = Field(default=600, ge=0, description="longest wait that `Prefer: wait=N` can ask for")

    heartbeat_seconds: float = Field(default=2, gt=0, description="between two signs of life, and lease renewals")
    lease_seconds: float = Field(default=10, gt=0, description="a running job without renewal for this long is retried")
    max_attempts: int = Field(default=3, ge=1, description="starts of one job before it fails")
    unpublished_seconds: float = Field(
        default=5, gt=0, description="age at which an unpublished job is published again"
    )
    model_memory_seconds: float = Field(
        default=900, gt=0, description="how long jobs are accepted for a model whose worker is away, restarting say"
    )
    visibility_timeout_seconds: int = Field(
        default=7200, ge=60, description="at least twice the longest job, else the broker delivers it twice"
    )
    load_timeout_seconds: float = Field(default=900, gt=0, description="longest load of all models in a worker")
    soft_shutdown_seconds: float = Field(default=60, ge=0, description="what a running job gets after SIGTERM")
    baseline_runs: int = Field(
        default=3, ge=0, description="teacher and student runs at start-up, so that the first job has a baseline"
    )
    baseline_max_age_seconds: float = Field(
        default=86_400, gt=0, description="an older baseline is measured again at the next start"
    )
    check_clips: bool = Field(
        default=True, description="whether a clip that no working model makes is made again by the teacher, or fails"
    )
    shadow_share: float = Field(
        default=0.05, ge=0, le=1, description="share of vdmini jobs that an idle worker re-runs on the teacher"
    )
    shadow_idle_seconds: float = Field(
        default=2, ge=0, description="how long a worker has nothing to do before it re-runs a job"
    )

    @field_validator("artifacts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(Path(part) for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("broker_url", "jobs_url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        scheme, mark, _ = url.get_secret_value().partition("://")
        if not mark or scheme not in REDIS_SCHEMES:
            got = f"starts with {scheme}://" if mark else "has no ://"  # never the URL itself: it holds a password
            raise ValueError(f"a Redis URL starts with {' or '.join(f'{s}://' for s in REDIS_SCHEMES)}; this one {got}")
        return url

    @property
    def results_dir(self) -> Path:
        """Where the MP4s are."""
        return self.data_dir / "results"

    def result_path(self, job_id: str, attempt: int) -> Path:
        """The MP4 of one attempt: attempts never share a file, so a stale one cannot overwrite a good one."""
        return self.results_dir / f"{job_id}.{attempt}.mp4"
