"""Following jobs while they change: one poll of a job serves all streams of a process. `api.events` sends."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator

from redis.exceptions import RedisError

from vdmini_serve.api.finished import FinishedJobs
from vdmini_serve.api.queue import Queue
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Between two reads of a followed job. Its end comes at once, for that is announced."""


class JobFeeds:
    """Follows jobs for streams.

    Args:
        store: the jobs.
        finished: tells of a job's end before the next poll would.
        queue: tells where jobs stand.
    """

    def __init__(self, store: ApiStore, finished: FinishedJobs, queue: Queue) -> None:
        self.store, self.finished, self.queue = store, finished, queue
        self._feeds: dict[str, _Feed] = {}

    async def follow(self, job: Job) -> AsyncGenerator[Job, None]:
        """A job that was just read, then each time that it has changed, until it is finished or deleted.

        Who is slow misses states in between, never the last one. While Redis is away nothing comes.
        """
        with self._joined(job) as feed:
            seen: Job | None = feed.job
            while seen is not None:
                yield seen
                seen = await feed.after(seen)

    @contextlib.contextmanager
    def _joined(self, job: Job) -> Iterator["_Feed"]:
        """The feed of a job, which polls as long as somebody is inside."""
        feed = self._feeds.setdefault(job.id, _Feed(job))
        if feed.poll is None:
            feed.poll = asyncio.create_task(self._keep(feed))
        feed.streams += 1
        try:
            yield feed
        finally:
            feed.streams -= 1
            if not feed.streams:
                del self._feeds[job.id]
                feed.poll.cancel()

    async def _keep(self, feed: "_Feed") -> None:
        """Keep a feed up to date until it is over."""
        try:
            with self.finished.notice(feed.job.id) as announced:
                while not feed.over:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(announced.wait(), POLL_SECONDS)
                    announced.clear()
                    await feed.put(await self._read(feed.job))
        finally:
            await feed.put(None)

    async def _read(self, last: Job) -> Job | None:
        try:
            return await self.queue.placed(await self.store.get(last.id))
        except ProblemError:
            return None
        except RedisError as error:
            log.warning("a followed job cannot be read: %s", error)
            return last


class _Feed:
    """The newest state of one job, and those who wait for the next."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.over = job.finished
        self.streams = 0
        self.poll: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    async def put(self, job: Job | None) -> None:
        """Note the job as it is now; None when nothing will come any more."""
        if job == self.job:
            return
        async with self._changed:
            self.job = job or self.job
            self.over = job is None or job.finished
            self._changed.notify_all()

    async def after(self, seen: Job) -> Job | None:
        """Wait until the job is no longer as it was seen; None when nothing will come any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.over or self.job != seen)
        return self.job if self.job != seen else None
