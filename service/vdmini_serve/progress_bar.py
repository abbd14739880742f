"""One line on a terminal that shows how a job stands; on anything else it shows nothing."""

import os
import shutil
import sys
from types import TracebackType
from typing import Protocol, Self, TextIO

BAR_WIDTH = 28


class Standing(Protocol):
    """What is shown of a job."""

    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def progress(self) -> float: ...  # noqa: D102
    @property
    def queue_position(self) -> int | None: ...  # noqa: D102
    @property
    def eta_seconds(self) -> float | None: ...  # noqa: D102


class ProgressBar:
    """Shows a job's standing in place; inside `with`, so that the line is gone at the end.

    Args:
        stream: where to; standard error by default, so that standard output stays for results.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shows = self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shows:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, job: Standing) -> None:
        """Show a job as it is now."""
        if self._shows:
            text = line(job)[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def line(job: Standing) -> str:
    """A job's standing in words: its place in the queue, or a bar; and how long it will take."""
    done = round(BAR_WIDTH * job.progress)
    parts = [f"{job.status:9}"]
    if job.status == "queued":
        parts.append(_place(job.queue_position))
    else:
        parts.append(f"[{'#' * done}{'.' * (BAR_WIDTH - done)}] {job.progress:4.0%}")
    if job.eta_seconds is not None:
        parts.append(f"about {duration(job.eta_seconds)} to go")
    return "  ".join(filter(None, parts))


def _place(position: int | None) -> str:
    if position is None:
        return "waiting"
    return "next in line" if position == 0 else f"{position} before it"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    whole = round(seconds)
    if whole < 1:
        return "a second"
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"
