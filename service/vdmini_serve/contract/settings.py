"""Settings from the environment, prefix `VDMINI_`. Nothing is read at import: call `Settings()`."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vdmini_serve.contract.addresses import parse_exceptions
from vdmini_serve.contract.outbox import check_secret

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
    results_url: SecretStr | None = Field(
        default=None,
        description="fsspec URL of the MP4s instead of the local folder, such as s3://bucket/folder; one folder for "
        "each deployment",
    )
    signed_link_seconds: int = Field(
        default=0,
        ge=0,
        le=604_800,
        description="when not 0, `GET .../content` redirects to a link of the store that is good for so long",
    )
    store_retry_seconds: float = Field(
        default=60, ge=0, description="how long a worker tries to store a clip in a store that is away"
    )
    result_ttl_seconds: float = Field(
        default=604_800, gt=0, description="how long a finished job and its clip are kept; a week by default"
    )
    result_grace_seconds: float = Field(
        default=600,
        gt=0,
        description="how long a clip outlives its job for downloads that have begun, and partial files",
    )
    sweep_seconds: float = Field(
        default=3600, gt=0, description="between two looks through all clips for those that belong to no job"
    )
    min_free_bytes: int = Field(
        default=256 * 2**20, ge=0, description="less room than this on the clips' volume makes the service not ready"
    )
    stall_seconds: float = Field(
        default=30, gt=0, description="a worker that idles this long beside a waiting job of its own counts as stalled"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="of the lines on standard error; auto is text on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        default="info",
        description="info has a line for each request and each turn of a job, warning only what is wrong",
    )
    artifacts: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="artifact folders that the worker loads, separated like PATH"
    )
    artifacts_dir: Path | None = Field(
        default=None,
        description="folder whose subfolders are artifacts; what is added, changed or removed there is served, "
        "exchanged or dropped without a restart. Write an artifact elsewhere and rename it into place",
    )
    artifacts_scan_seconds: float = Field(default=5, gt=0, description="between two looks at `artifacts_dir`")
    max_model_bytes: int | None = Field(
        default=None,
        ge=1,
        description="bytes of weights that a worker keeps loaded; what was not needed for the longest time is put "
        "away. All stay by default",
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
    max_active_cost: int | None = Field(
        default=None,
        ge=1,
        description="frames x pixels x steps queued and running before 429; no limit by default",
    )
    max_queue_seconds: float = Field(
        default=3600, gt=0, description="longest wait for a start when a request doesn't say, after which the job fails"
    )
    idempotency_seconds: int = Field(
        default=86_400, ge=60, description="how long an Idempotency-Key stands for its job"
    )
    require_api_key: bool = Field(
        default=False, description="whether /v1 needs `Authorization: Bearer KEY`; `vdmini-serve keys add` makes keys"
    )
    requests_without_key: str | None = Field(
        pattern=r"^[1-9]\d*/(second|minute|hour|day)$",
        default=None,
        description="rate of POST where no key is asked for, such as 120/minute, all clients together",
    )
    default_wait_seconds: float = Field(default=60, ge=0, description="how long a POST waits for the clip by default")
    max_wait_seconds: float = Field(default=600, ge=0, description="longest wait that `Prefer: wait=N` can ask for")

    image_urls: bool = Field(default=False, description="whether requests may name an image by `image_url`")
    image_url_seconds: float = Field(default=15, gt=0, description="longest download of such an image, all in all")
    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="keys that sign webhooks, `whsec_` and base64 of 24 to 64 bytes each, separated by commas; several "
        "while they are exchanged. Without any, `webhook_url` is refused",
    )
    webhook_seconds: float = Field(default=10, gt=0, description="longest attempt at sending a webhook")
    webhook_max_attempts: int = Field(default=12, ge=1, description="attempts at sending a webhook before giving up")
    webhook_first_retry_seconds: float = Field(
        default=5,
        gt=0,
        description="pause after the first failed attempt; doubled after each, up to half less at random",
    )
    webhook_longest_retry_seconds: float = Field(default=3600, gt=0, description="longest pause between two attempts")
    outgoing_exceptions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="an exception from the rule that images and webhooks use public addresses only: host names and "
        "networks (`10.1.0.0/16`) separated by commas. Whoever may send requests can reach them through the service",
    )
    outgoing_ca_file: Path | None = Field(
        default=None, description="PEM file of certificate authorities that are trusted beside the public ones"
    )

    tracing: bool = Field(
        default=False,
        description="whether OpenTelemetry's spans are sent, to where the OTEL_EXPORTER_OTLP_... variables say; needs "
        "the extra `tracing`",
    )

    heartbeat_seconds: float = Field(default=2, gt=0, description="between two signs of life, and lease renewals")
    heartbeat_file: Path | None = Field(
        default=None,
        description="file that a worker renews as its sign of life on its own machine, one for each worker; "
        "`vdmini-serve healthcheck` reads it",
    )
    lease_seconds: float = Field(default=8, gt=0, description="a running job without renewal for this long is retried")
    step_seconds: float = Field(
        default=900,
        gt=0,
        description="longest denoising step, decode chunk or storing of a clip; a worker's child that takes longer "
        "hangs, and is ended and replaced",
    )
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

    @field_validator("webhook_secrets", "outgoing_exceptions", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("webhook_secrets")
    @classmethod
    def _check_secrets(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            check_secret(secret.get_secret_value())
        return secrets

    @field_validator("outgoing_exceptions")
    @classmethod
    def _check_exceptions(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        parse_exceptions(entries)
        return entries

    @field_validator("broker_url", "jobs_url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        scheme, mark, _ = url.get_secret_value().partition("://")
        if not mark or scheme not in REDIS_SCHEMES:
            got = f"starts with {scheme}://" if mark else "has no ://"  # never the URL itself: it holds a password
            raise ValueError(f"a Redis URL starts with {' or '.join(f'{s}://' for s in REDIS_SCHEMES)}; this one {got}")
        return url

    @field_validator("results_url")
    @classmethod
    def _check_results_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            scheme, mark, rest = url.get_secret_value().partition("://")
            if not mark or not rest or "::" in scheme:
                raise ValueError("give one URL such as s3://bucket/folder")
            if scheme in ("memory", "file", "local"):
                raise ValueError(f"{scheme}:// is no store that others can reach; leave it out and set VDMINI_DATA_DIR")
        return url

    @property
    def results_dir(self) -> Path:
        """Where the MP4s are, unless `results_url` says otherwise."""
        return self.data_dir / "results"

    @property
    def scratch_dir(self) -> Path:
        """Where MP4s are written before they are stored; on the volume of `results_dir`."""
        return self.data_dir / "partial"
