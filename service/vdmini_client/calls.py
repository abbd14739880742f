"""Requests as plain data. Sending them is left to the clients, retrying to `flows`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypedDict
from urllib.parse import quote

Image = bytes | str | Path | BinaryIO
"""A PNG, JPEG or WebP: its bytes, its path, or an open binary file."""


class Options(TypedDict, total=False):
    """What both tasks take; the service has the defaults and checks the limits (`Client.model`)."""

    variant: str
    width: int
    height: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    quality: Literal["draft", "balanced", "reference"]
    max_latency_seconds: float
    priority: Literal["high", "normal", "low"]
    max_queue_seconds: float
    seed: int
    webhook_url: str


class ImageOptions(Options, total=False):
    """What image to video takes besides."""

    motion_bucket_id: int
    noise_aug_strength: float


@dataclass(frozen=True)
class Call:
    """One request.

    Args:
        method: of HTTP.
        path: below the base URL.
        arguments: for `httpx.Client.build_request`: json, data, files, params.
        headers: of this request alone.
        safe: whether sending it twice does no harm.
    """

    method: str
    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool = True


def image_to_video(image: Image, options: Mapping[str, Any], key: str) -> Call:
    """Ask for a job that animates an image.

    Raises:
        OSError: when the file cannot be read.
    """
    form = {name: str(value) for name, value in options.items() if value is not None}
    return _making("i2v", key, {"files": {"image": ("image", _content(image))}, "data": form})


def text_to_video(prompt: str, options: Mapping[str, Any], key: str) -> Call:
    """Ask for a job that makes a clip from a sentence."""
    said = {name: value for name, value in options.items() if value is not None}
    return _making("t2v", key, {"json": {**said, "prompt": prompt}})


def job(job_id: str, part: str = "") -> Call:
    """Ask about a job, or for a part of it such as `/content`."""
    return Call("GET", f"/v1/jobs/{quote(job_id, safe='')}{part}")


def cancellation(job_id: str) -> Call:
    """Cancel a job; doing it twice does no harm."""
    return Call("POST", f"/v1/jobs/{quote(job_id, safe='')}/cancel")


def jobs(after: str | None, limit: int) -> Call:
    """Ask for a page of jobs."""
    return Call("GET", "/v1/jobs", {"params": {"limit": limit, **({"after": after} if after else {})}})


def models(name: str | None = None) -> Call:
    """Ask for the loaded models, or for one."""
    return Call("GET", "/v1/models" if name is None else f"/v1/models/{quote(name, safe='')}")


def _making(task: str, key: str, arguments: Mapping[str, Any]) -> Call:
    return Call("POST", f"/v1/{task}", arguments, {"Prefer": "respond-async", "Idempotency-Key": key})


def _content(image: Image) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    return image.read()
