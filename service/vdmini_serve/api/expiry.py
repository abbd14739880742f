"""Removing what has expired: jobs, their files, and files that belong to no job. Any number of replicas may do it.

Each round works off lists in Redis, a bounded piece of them. Looking through the whole store for strays is a rarer
sweep, by one replica at a time.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import islice

from redis.exceptions import RedisError

from vdmini_serve.api.results import Results
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import expiry, keys, metrics
from vdmini_serve.results.names import names_of, parse_name
from vdmini_serve.results.scratch import remove_partial
from vdmini_serve.results.store import StoreAwayError, StoredFile

log = logging.getLogger(__name__)

ROUND_JOBS = 100
ROUND_FILES = 50
SWEEP_FILES = 200
"""Files that are looked at together; their jobs are read in one round trip."""


class Expiry:
    """Removes jobs and files whose time has come.

    Args:
        store: the jobs.
        results: their files.
    """

    def __init__(self, store: ApiStore, results: Results) -> None:
        self.store, self.results, self.settings = store, results, store.settings
        self._expire = store.redis.register_script(expiry.EXPIRE)
        self._take = store.redis.register_script(expiry.TAKE)
        self._removed = store.redis.register_script(expiry.REMOVED)

    async def keep_clean(self) -> None:
        """Clean up until cancelled."""
        while True:
            await asyncio.sleep(self.settings.heartbeat_seconds)
            try:
                await self.expire_jobs()
                await self.remove_files()
                if await self._my_turn_to_sweep():
                    await self.sweep()
            except (RedisError, StoreAwayError) as error:
                log.warning("cleaning up goes on later: %s", error)

    async def expire_jobs(self) -> int:
        """Forget finished jobs that are old enough, and put their files on the list.

        Returns:
            How many there were.
        """
        now = time.time()
        due = await self.store.redis.zrangebyscore(keys.EXPIRING, "-inf", now, start=0, num=ROUND_JOBS)
        return sum([await self._forget(job_id, now) for job_id in due])

    async def delete(self, job_id: str) -> None:
        """Forget a job and its files now; what cannot be removed at once goes with a later round.

        Raises:
            ProblemError: when there is none of this id.
        """
        await self.store.end(job_id)
        await self.forget(job_id, grace_seconds=0)
        try:
            await self.remove_files()
        except StoreAwayError as error:
            log.warning("the files of a deleted job are removed later: %s", error, extra={"job_id": job_id})

    async def forget(self, job_id: str, *, grace_seconds: float | None = None) -> bool:
        """Expire a finished job now; False when it is live or unknown. Its files go after the grace time."""
        await self.store.redis.zadd(keys.EXPIRING, {job_id: 0}, xx=True)
        return bool(await self._forget(job_id, time.time(), grace_seconds=grace_seconds))

    async def _forget(self, job_id: str, now: float, *, grace_seconds: float | None = None) -> int:
        named = [keys.job_key(job_id), keys.JOBS, keys.EXPIRING, keys.REMOVALS, keys.RESULT_BYTES]
        grace = self.settings.result_grace_seconds if grace_seconds is None else grace_seconds
        return int(await self._expire(named, [job_id, now, now + grace]))

    async def remove_files(self) -> int:
        """Remove the files of forgotten jobs.

        Returns:
            How many there were.

        Raises:
            StoreAwayError: those that are left stay on the list and have their turn after the grace time.
        """
        removed, now = 0, time.time()
        due = await self._take([keys.REMOVALS], [now, ROUND_FILES, now + self.settings.result_grace_seconds])
        ((cell, _),) = metrics.increment(metrics.RESULTS_REMOVED, ("expired",))
        for entry in due:
            job_id, _, attempts = entry.rpartition(".")
            names = [name for attempt in range(1, int(attempts) + 1) for name in names_of(job_id, attempt)]
            found = sum([await self._remove(name) for name in names])
            await self._removed([keys.REMOVALS, keys.METRICS], [entry, cell, found])
            removed += found
        return removed

    async def _remove(self, name: str) -> bool:
        return await self.results.run(lambda: self.results.store.remove(name))

    async def _my_turn_to_sweep(self) -> bool:
        milliseconds = int(self.settings.sweep_seconds * 1000)
        return bool(await self.store.redis.set(keys.SWEEP, "1", nx=True, px=milliseconds))

    async def sweep(self) -> int:
        """Look through all files for those that no job will ever serve.

        Returns:
            How many were removed.

        Raises:
            StoreAwayError: the next sweep goes on.
        """
        folder, grace = self.settings.scratch_dir, self.settings.result_grace_seconds
        removed = await self.results.run(lambda: remove_partial(folder, older_than_seconds=grace))
        await self._count("partial", removed)
        files = self.results.store.files()
        while batch := await self.results.run(lambda: list(islice(files, SWEEP_FILES))):
            for name in await self._strays(batch):
                if await self._remove(name):
                    await self._count("stray", 1)
                    removed += 1
        return removed

    async def _count(self, reason: str, number: int) -> None:
        for cell, amount in metrics.increment(metrics.RESULTS_REMOVED, (reason,), number):
            await self.store.redis.hincrbyfloat(keys.METRICS, cell, amount)

    async def _strays(self, files: Sequence[StoredFile]) -> list[str]:
        pipeline = self.store.redis.pipeline(transaction=False)
        named = [(file, parsed) for file in files if (parsed := parse_name(file.name)) is not None]
        for _, (job_id, _attempt) in named:
            pipeline.hmget(keys.job_key(job_id), "status", "attempts")
        answers = await pipeline.execute()
        return [
            file.name
            for (file, (_, attempt)), (status, attempts) in zip(named, answers, strict=True)
            if self._is_stray(file, attempt, status, attempts)
        ]

    def _is_stray(self, file: StoredFile, attempt: int, status: str | None, attempts: str | None) -> bool:
        """A file without a job is kept as long as a job would be: Redis may have been lost, and come back."""
        age = time.time() - file.modified_at
        if status is None or attempts is None:
            return age > self.settings.result_grace_seconds + self.settings.result_ttl_seconds
        wanted = attempt == int(attempts) and status in ("queued", "running", "succeeded")
        return not wanted and age > self.settings.result_grace_seconds
