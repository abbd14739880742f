"""The most memory that one call takes."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What Linux takes for "forget the largest resident size" (proc(5))."""


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that a call needs above what was there before it.

    On a GPU what torch's allocator gave out; on a CPU the process's resident memory, after the C library was asked to
    give back what it keeps: what it keeps all the same isn't seen, so it is a lower bound there.

    Args:
        run: what to call, once.
        device: where it computes.

    Returns:
        The bytes; None where the system doesn't tell.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _trim()
    if not _forget_peak():
        return None
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def _forget_peak() -> bool:
    """Whether the largest resident size starts anew; it does not outside Linux, or where a container forbids it."""
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return STATUS.exists()


def _trim() -> None:
    """Ask glibc to give freed memory back; other C libraries can't be asked."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> int:
    """A size in /proc/self/status, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
