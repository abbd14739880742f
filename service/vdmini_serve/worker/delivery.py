"""Bringing a clip's file into the result store, and knowing that it arrived whole. When is left to `worker.runner`."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.settings import Settings
from vdmini_serve.results.names import names_of, result_name, still_name
from vdmini_serve.results.store import ResultMissingError, ResultStore, StoreAwayError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Delivered:
    """A file that the store has.

    Args:
        size_bytes: its size.
        sha256: its hash, hexadecimal.
        seconds: writing and storing it.
    """

    size_bytes: int
    sha256: str
    seconds: float


class Delivery:
    """Writes files beside the store, stores them, and reads them back.

    Args:
        settings: where to write, and how long a store that is away is tried.
        results: the store.
    """

    def __init__(self, settings: Settings, results: ResultStore) -> None:
        self.settings, self.results = settings, results

    def warm_up(self) -> None:
        """Reach the store once: the first call loads its library, and a log should say early that it is away."""
        try:
            self.results.size(result_name("0" * 32, 1))
        except ResultMissingError:
            return
        except StoreAwayError as error:
            log.warning("the result store is away: %s", error)

    def deliver(self, job_id: str, attempt: int, write: Callable[[Path], None]) -> Delivered:
        """Have `write` make a file, and store it as the result of an attempt.

        Raises:
            OSError: when a volume is full.
            ProblemError: when a remote store stays away.
        """
        started, name = time.perf_counter(), result_name(job_id, attempt)
        self.settings.scratch_dir.mkdir(parents=True, exist_ok=True)
        path = self.settings.scratch_dir / name
        try:
            write(path)
            size, sha256 = path.stat().st_size, _sha256(_chunks(path))
            self._put(path, name, size, sha256)
        finally:
            path.unlink(missing_ok=True)
        return Delivered(size, sha256, time.perf_counter() - started)

    def add_still(self, job_id: str, attempt: int, write: Callable[[Path], None]) -> None:
        """Have `write` make a picture, and store it beside the clip; a clip without one is no failure."""
        name = still_name(job_id, attempt)
        path = self.settings.scratch_dir / name
        try:
            write(path)
            self.results.put(path, name)
        except (OSError, StoreAwayError) as error:
            log.warning("a clip has no still: %s", error, extra={"job_id": job_id})
        finally:
            path.unlink(missing_ok=True)

    def withdraw(self, job_id: str, attempt: int) -> None:
        """Remove what an attempt stored; when the store is away, the sweep does it later."""
        try:
            for name in names_of(job_id, attempt):
                self.results.remove(name)
        except StoreAwayError as error:
            log.warning("the file of a job without a result stays for now: %s", error, extra={"job_id": job_id})

    def _put(self, path: Path, name: str, size: int, sha256: str) -> None:
        deadline, pause = time.monotonic() + self.settings.store_retry_seconds, FIRST_PAUSE_SECONDS
        while True:
            try:
                if path.exists():  # a local store has moved it
                    self.results.put(path, name)
                if _sha256(self.results.read(name, 0, size - 1)) != sha256:
                    raise StoreAwayError(f"{name} came back with other content")
                return
            except (StoreAwayError, ResultMissingError) as error:
                if time.monotonic() + pause > deadline:
                    detail = "the clip was made, but the result store did not take it; try again in a moment"
                    raise ProblemError(ProblemKind.RESULTS_UNAVAILABLE, detail) from error
                log.warning("storing is tried again in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            yield chunk


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
