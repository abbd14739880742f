"""The API's side of the job store: accept, read, list, cancel, recover. The transitions are Lua scripts."""

import json
import time
from typing import Any

from redis.asyncio import Redis

from vdmini_serve.contract import keys, metrics, transitions
from vdmini_serve.contract.job import Job, JobPage, decode_job, encode_new
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.problem import ProblemError, ProblemKind, attempts_used_up
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings

BEATS_UNTIL_DEAD = 5
"""Missed signs of life after which a worker doesn't count any more."""


class ApiStore:
    """The jobs' Redis as the API uses it.

    Args:
        redis: a client that decodes to text.
        settings: limits and times.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis: Any = redis
        self.settings = settings
        self._create = redis.register_script(transitions.CREATE)
        self._cancel = redis.register_script(transitions.CANCEL)
        self._recover = redis.register_script(transitions.RECOVER)

    async def create(self, job_id: str, spec: JobSpec, image: bytes | None) -> None:
        """Accept a job; it must be published next.

        Raises:
            ProblemError: when too many jobs are active.
        """
        now = time.time()
        names = [keys.job_key(job_id), keys.JOBS, keys.ACTIVE, keys.image_key(job_id)]
        new = encode_new(job_id, spec, created_at=now, ttl_seconds=self.settings.result_ttl_seconds)
        fields = [part for pair in new.items() for part in pair]
        arguments: list[Any] = [job_id, now, self.settings.max_active_jobs, image or b"", *fields]
        if not await self._create(names, arguments):
            detail = f"{self.settings.max_active_jobs} jobs are waiting or running, no more are taken; try again later"
            raise ProblemError(ProblemKind.QUEUE_FULL, detail, headers={"Retry-After": "10"})

    async def mark_published(self, job_id: str) -> None:
        """Note that the broker has the job."""
        noted = {"published": "1", "published_at": repr(time.time())}
        await self.redis.hset(keys.job_key(job_id), mapping=noted)

    async def get(self, job_id: str) -> Job:
        """Read a job.

        Raises:
            ProblemError: when there is none of this id.
        """
        fields = await self.redis.hgetall(keys.job_key(job_id))
        if not fields:
            detail = f"there is no job {job_id[:64]!r}; ids are what POST answered in `id` and in `Location`, and a "
            detail += "finished job is removed at its `expires_at`"
            raise ProblemError(ProblemKind.UNKNOWN_JOB, detail)
        return decode_job(fields)

    async def page(self, *, after: str | None, limit: int) -> JobPage:
        """List jobs, newest first, from behind the job `after`."""
        start = 0
        if after is not None:
            rank = await self.redis.zrevrank(keys.JOBS, after)
            if rank is None:
                raise ProblemError(
                    ProblemKind.UNKNOWN_JOB, f"`after` names no job: {after[:64]!r}; give `next` of a page"
                )
            start = rank + 1
        ids = await self.redis.zrevrange(keys.JOBS, start, start + limit)
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in ids[:limit]:
            pipeline.hgetall(keys.job_key(job_id))
        jobs = tuple(decode_job(fields) for fields in await pipeline.execute() if fields)
        return JobPage(jobs=jobs, next=ids[limit - 1] if len(ids) > limit else None)

    async def cancel(self, job_id: str) -> Job:
        """Ask for a job to stop; nothing happens to a finished one."""
        await self._cancel([keys.job_key(job_id)], [job_id, time.time()])
        return await self.get(job_id)

    async def recover(self, job_id: str) -> bool:
        """Take a job back from a dead worker; True when it must be published (again)."""
        failure = attempts_used_up(self.settings.max_attempts, job_id).model_dump_json()
        arguments: list[Any] = [
            job_id,
            time.time(),
            self.settings.max_attempts,
            failure,
            self.settings.unpublished_seconds,
        ]
        return bool(await self._recover([keys.job_key(job_id), keys.lease_key(job_id)], arguments))

    async def active(self) -> list[str]:
        """Ids of all jobs that are not finished."""
        ids: list[str] = await self.redis.zrange(keys.ACTIVE, 0, -1)
        return ids

    async def models(self) -> dict[str, ModelDescriptor]:
        """The models that a worker has, or had a moment ago, by name."""
        oldest = time.time() - self.settings.model_memory_seconds
        names = await self.redis.zrangebyscore(keys.MODELS_SEEN, oldest, "+inf")
        texts = await self.redis.hmget(keys.MODELS, names) if names else []
        found = [ModelDescriptor.model_validate_json(text) for text in texts if text]
        return {each.name: each for each in sorted(found, key=lambda each: each.name)}

    async def workers(self) -> list[WorkerBeat]:
        """The workers that give signs of life."""
        oldest = time.time() - BEATS_UNTIL_DEAD * self.settings.heartbeat_seconds
        beats = [WorkerBeat.model_validate(json.loads(text)) for text in await self.redis.hvals(keys.WORKERS)]
        return [beat for beat in beats if beat.at >= oldest]

    async def count_rejection(self, kind: ProblemKind) -> None:
        """Count a request that was answered with a problem."""
        for field, amount in metrics.increment(metrics.REJECTED, (kind.value,)):
            await self.redis.hincrbyfloat(keys.METRICS, field, amount)
