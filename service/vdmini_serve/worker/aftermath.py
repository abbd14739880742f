"""What follows a clip, beside the next job: one thread that encodes and stores. What that is, `worker.runner` says."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger(__name__)


class Aftermath:
    """Runs work in a thread of its own, one piece at a time.

    Datacenter GPUs have no video encoder, so an MP4 is written on the CPU while the GPU makes the next clip. Only one
    clip is ever held back, so that memory stays bounded when encoding is the slower part.

    Args:
        beside: whether to use a thread; otherwise `submit` does the work itself.
    """

    def __init__(self, *, beside: bool) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="aftermath") if beside else None
        self._running: Future[None] | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Begin `work` once the former piece is done; without a thread, do it, and raise what it raises."""
        if self._pool is None:
            work()
        else:
            self.wait()
            self._running = self._pool.submit(_logged, work)

    def wait(self) -> None:
        """Until nothing is running."""
        if self._running is not None:
            self._running.result()

    def close(self) -> None:
        """Finish what is running and end the thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)


def _logged(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # the edge of the thread
        log.exception("a clip could not be stored; its job is started again when its lease has run out")
