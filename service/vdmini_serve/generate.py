"""`vdmini-serve generate`: one clip for a person at a terminal. Asking the service is `vdmini_client`'s part."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vdmini_client import Client, Clip, Job, UnreachableError, VDMiniError
from vdmini_serve.progress_bar import ProgressBar


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


def generate(url: str, wish: Wish) -> Clip:
    """Have one clip made and written. Ctrl-C cancels its job, and says so.

    Args:
        url: of the service.
        wish: what to make.

    Returns:
        The finished job.

    Raises:
        GenerateError: when the service or a file cannot be reached, or the service refuses.
    """
    if not wish.output.parent.is_dir():
        raise GenerateError(f"folder {wish.output.parent} does not exist; make it first")
    if wish.output.is_dir():
        raise GenerateError(f"{wish.output} is a folder; give the name of the MP4 to write")
    try:
        with Client(url) as client:
            clip = _waited(client, _submitted(client, wish))
            _write(clip, wish.output)
    except UnreachableError as error:
        raise GenerateError(f"{error}; start one with `vdmini-serve up`, or give --url") from error
    except VDMiniError as error:
        raise GenerateError(str(error)) from error
    return clip


def _submitted(client: Client, wish: Wish) -> Job:
    if wish.image is None:
        return client.submit_t2v(wish.prompt or "", **wish.fields)
    try:
        image = wish.image.read_bytes()
    except OSError as error:
        raise GenerateError(f"cannot read {wish.image}: {error.strerror}") from error
    return client.submit_i2v(image, **wish.fields)


def _waited(client: Client, job: Job) -> Clip:
    try:
        with ProgressBar() as bar:
            return client.wait(job, progress=bar.show)
    except KeyboardInterrupt:
        sys.stderr.write(f"vdmini-serve: {_cancelled(client, job)}\n")
        raise


def _cancelled(client: Client, job: Job) -> str:
    try:
        client.cancel(job)
    except VDMiniError as error:
        return f"stopped waiting, but job {job.id} could not be cancelled: {error}"
    return f"cancelled job {job.id}"


def _write(clip: Clip, path: Path) -> None:
    try:
        clip.save(path)
    except OSError as error:
        raise GenerateError(f"cannot write {path}: {error.strerror}") from error


def summary(job: Job, path: Path) -> str:
    """What the clip is and what it took, for a person."""
    stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in job.timings.items())
    lines = [
        f"{path}: {job.num_frames} frames of {job.width}x{job.height}, {job.size_bytes} bytes, seed {job.seed}",
        f"model {job.model} on {job.device}; seconds: {stages}",
    ]
    if job.baseline_seconds is None or job.speedup is None:
        lines.append("speed-up: unknown, the uncompressed model was not measured for such a clip on this device yet")
    else:
        base, runs = job.baseline_seconds, job.baseline_samples
        lines.append(f"speed-up {job.speedup:.2f}x: the uncompressed model takes {base:.3f} s (median of {runs} runs)")
    return "\n".join(lines)
