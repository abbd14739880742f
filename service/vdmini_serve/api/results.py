"""The result store as the API uses it: off the event loop, with its troubles as problems."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from vdmini_serve.contract.disk import Disk
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.results.store import ResultMissingError, ResultStore, StoreAwayError

log = logging.getLogger(__name__)

CALLS_AT_ONCE = 16
"""Own threads, so that a store that hangs holds up downloads and nothing else."""

DISK_SECONDS = 2.0
"""What a volume gets to say how much room there is."""

T = TypeVar("T")


class Results:
    """A result store for coroutines.

    Args:
        store: what does the work.
    """

    def __init__(self, store: ResultStore) -> None:
        self.store = store
        self._limiter = CapacityLimiter(CALLS_AT_ONCE)

    async def size(self, name: str) -> int:
        """Bytes of a clip.

        Raises:
            ProblemError: when it is gone, or the store is away.
        """
        return await self._asked(lambda: self.store.size(name))

    async def link(self, name: str, seconds: int) -> str | None:
        """A signed link that is good for so long; None when the store makes none."""
        return await self._asked(lambda: self.store.link(name, seconds))

    async def read(self, name: str, first: int, last: int, *, sha256: str | None = None) -> AsyncGenerator[bytes, None]:
        """Bytes `first` to `last` in pieces.

        Args:
            name: of the clip.
            first: byte.
            last: byte, inclusive.
            sha256: of these bytes. The last piece is held back until all were compared with it, so that a damaged clip
                never arrives whole.

        Raises:
            ProblemError: when the clip is gone or damaged, or the store is away.
        """
        pieces, digest = self.store.read(name, first, last), hashlib.sha256()
        held: bytes | None = None
        try:
            while (piece := await self._asked(lambda: next(pieces, None))) is not None:
                if held is not None:
                    yield held
                held = piece
                if sha256 is not None:
                    digest.update(piece)
            if sha256 is not None and digest.hexdigest() != sha256:
                log.error("%s does not have the hash that it had when it was stored", name)
                raise damaged()
            if held is not None:
                yield held
        finally:
            pieces.close()

    async def disk(self) -> Disk | None:
        """The clips' volume; None where there is no bound, or a volume that hangs or fails tells nothing."""
        try:
            asking = to_thread.run_sync(self.store.disk, limiter=self._limiter, abandon_on_cancel=True)
            return await asyncio.wait_for(asking, DISK_SECONDS)
        except (StoreAwayError, TimeoutError) as error:
            log.warning("room for clips is unknown: %s", str(error) or f"no answer within {DISK_SECONDS:g} s")
            return None

    async def run(self, call: Callable[[], T]) -> T:
        """Make a blocking call of the store in a thread; what it raises is raised."""
        return await to_thread.run_sync(call, limiter=self._limiter)

    async def _asked(self, call: Callable[[], T]) -> T:
        try:
            return await self.run(call)
        except ResultMissingError as error:
            raise ProblemError(ProblemKind.CONTENT_GONE, "the clip was removed; send the request again") from error
        except StoreAwayError as error:
            log.warning("the result store is away: %s", error)
            detail = "the store of the clips cannot be reached; nothing is lost, try again in a moment"
            raise ProblemError(ProblemKind.RESULTS_UNAVAILABLE, detail, headers={"Retry-After": "5"}) from error


def damaged() -> ProblemError:
    """What a client is told whose clip is no longer what was stored."""
    return ProblemError(ProblemKind.RESULT_DAMAGED, "the clip's file is damaged; send the request again")
