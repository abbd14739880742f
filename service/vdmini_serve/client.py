"""`vdmini-serve generate`: asks a running service for one clip, shows progress, and tells what it took."""

import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

POLL_SECONDS = 0.1
BAR_WIDTH = 30


class GenerateError(Exception):
    """The clip could not be had; the message says why and what to do."""


@dataclass(frozen=True)
class Wish:
    """What to ask for.

    Args:
        image: file to animate, or None.
        prompt: sentence, or None.
        output: where the MP4 goes.
        fields: the other fields of the request; the service checks them.
    """

    image: Path | None
    prompt: str | None
    output: Path
    fields: dict[str, Any] = field(default_factory=dict)


def generate(url: str, wish: Wish, *, api_key: str | None = None) -> dict[str, Any]:
    """Have one clip made and written.

    Args:
        url: of the service.
        wish: what to make.
        api_key: where the service asks for one.

    Returns:
        The finished job.

    Raises:
        GenerateError: when the service or a file cannot be reached, or the service refuses.
    """
    if not wish.output.parent.is_dir():
        raise GenerateError(f"folder {wish.output.parent} does not exist; make it first")
    try:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        with httpx.Client(base_url=url, timeout=60, trust_env=False, headers=headers) as client:
            job = _submit(client, wish)
            job = _follow(client, job)
            _write(client.get(f"/v1/jobs/{job['id']}/content", follow_redirects=True), wish.output)
    except httpx.ConnectError as error:
        raise GenerateError(f"no service answers at {url}; start one with `vdmini-serve up`, or give --url") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise GenerateError(f"the service at {url} broke off: {type(error).__name__} {error}") from error
    return job


def _submit(client: httpx.Client, wish: Wish) -> dict[str, Any]:
    headers = {"Prefer": "respond-async"}
    if wish.image is None:
        response = client.post("/v1/t2v", json={"prompt": wish.prompt, **wish.fields}, headers=headers)
    else:
        try:
            content = wish.image.read_bytes()
        except OSError as error:
            raise GenerateError(f"cannot read {wish.image}: {error.strerror}") from error
        fields = {name: str(value) for name, value in wish.fields.items()}
        response = client.post("/v1/i2v", files={"image": ("image", content)}, data=fields, headers=headers)
    return _checked(response)


def _follow(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    try:
        while job["status"] in ("queued", "running"):
            _show(job)
            time.sleep(POLL_SECONDS)
            job = _checked(client.get(f"/v1/jobs/{job['id']}"))
    except KeyboardInterrupt:
        client.post(f"/v1/jobs/{job['id']}/cancel")
        raise
    finally:
        _clear()
    if job["status"] != "succeeded":
        reason = job["error"]["detail"] if job.get("error") else "it was cancelled"
        raise GenerateError(f"job {job['id']} {job['status']}: {reason}")
    return job


def _checked(response: httpx.Response) -> dict[str, Any]:
    try:
        content: dict[str, Any] = response.json()
    except ValueError as error:
        raise GenerateError(f"{response.url} answered {response.status_code}, and no JSON; is --url right?") from error
    if response.is_error:
        raise GenerateError(f"{content.get('title', response.status_code)}: {content.get('detail', response.text)}")
    return content


def _write(response: httpx.Response, path: Path) -> None:
    if response.is_error:
        _checked(response)
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(response.content)
            os.chmod(partial, 0o644)
            os.replace(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        raise GenerateError(f"cannot write {path}: {error.strerror}") from error


def _show(job: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        done = round(BAR_WIDTH * job["progress"])
        bar = "#" * done + "." * (BAR_WIDTH - done)
        sys.stderr.write(f"\r{job['status']:8} [{bar}] {job['progress']:4.0%}")
        sys.stderr.flush()


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r" + " " * (BAR_WIDTH + 20) + "\r")


def summary(job: dict[str, Any], path: Path) -> str:
    """What the clip is and what it took, for a person."""
    stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in job["timings"].items())
    lines = [
        f"{path}: {job['num_frames']} frames of {job['width']}x{job['height']}, {job['size_bytes']} bytes, "
        f"seed {job['seed']}",
        f"model {job['model']} on {job['device']}; seconds: {stages}",
    ]
    if job["baseline_seconds"] is None:
        lines.append("speed-up: unknown, the uncompressed model was not measured for such a clip on this device yet")
    else:
        base, runs = job["baseline_seconds"], job["baseline_samples"]
        lines.append(
            f"speed-up {job['speedup']:.2f}x: the uncompressed model takes {base:.3f} s (median of {runs} runs)"
        )
    return "\n".join(lines)
