"""Waiting for jobs to finish: one subscription per process wakes all requests that wait."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.keys import FINISHED_CHANNEL

log = logging.getLogger(__name__)

RECHECK_SECONDS = 1.0
"""How often a waiting request looks by itself: an announcement can be missed while Redis reconnects."""


class FinishedJobs:
    """Wakes requests when their job is announced as finished.

    Args:
        store: the jobs.
    """

    def __init__(self, store: ApiStore) -> None:
        self.store = store
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def listen(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with self.store.redis.pubsub() as channel:
                    await channel.subscribe(FINISHED_CHANNEL)
                    async for message in channel.listen():
                        self._announce(message)
            except RedisError as error:
                log.warning("not listening for finished jobs: %s", error)
                await asyncio.sleep(RECHECK_SECONDS)

    def _announce(self, message: dict[str, Any]) -> None:
        for event in self._waiting.get(message["data"], ()) if message["type"] == "message" else ():
            event.set()

    async def wait(self, job_id: str, seconds: float) -> Job:
        """Wait for a job to finish, at most so many seconds.

        Returns:
            The job as it is then.
        """
        deadline = time.monotonic() + seconds
        with self.notice(job_id) as event:
            while not (job := await self.store.get(job_id)).finished and (left := deadline - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left, RECHECK_SECONDS))
        return job

    @contextlib.contextmanager
    def notice(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job is announced as finished."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
