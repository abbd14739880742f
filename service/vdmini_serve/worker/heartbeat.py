"""A worker's sign of life as a file on its own machine, for probes there. What the API knows of it lies in Redis."""

import os
import threading
import time
from pathlib import Path

from pydantic import ValidationError

from vdmini_serve.contract.model import WorkerBeat


class NoHeartbeatError(Exception):
    """There is no sign of life; the message says why."""


def write(path: Path | None, beat: WorkerBeat) -> None:
    """Replace the file at once, so that a reader never sees half of it; nothing is written without a path."""
    if path is None:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_text(beat.model_dump_json())
    partial.replace(path)


def begin(path: Path | None, owner: str) -> None:
    """Say that a worker starts, before it has a child that could.

    Raises:
        NoHeartbeatError: when the file cannot be written.
    """
    try:
        write(path, WorkerBeat(id=owner, state="loading", models=(), at=time.time()))
    except OSError as error:
        raise NoHeartbeatError(
            f"VDMINI_HEARTBEAT_FILE cannot be written ({error}); give a file in a folder that the worker may write to"
        ) from error


def end(path: Path | None) -> None:
    """Take the sign of life away."""
    if path is not None:
        path.unlink(missing_ok=True)


def read(path: Path | None) -> WorkerBeat:
    """The last sign of life.

    Raises:
        NoHeartbeatError: when there is none.
    """
    if path is None:
        raise NoHeartbeatError("VDMINI_HEARTBEAT_FILE is not set; give it to the worker and to this check alike")
    try:
        return WorkerBeat.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise NoHeartbeatError(f"there is no {path}: no worker has started here, or it has another path") from error
    except (OSError, ValidationError) as error:
        raise NoHeartbeatError(
            f"{path} cannot be read ({type(error).__name__}); remove it, a worker makes it"
        ) from error
