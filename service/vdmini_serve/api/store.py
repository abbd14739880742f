"""The API's side of the job store: accept, read, list, cancel, recover. The transitions are Lua scripts."""

import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NoReturn, cast

from redis.asyncio import Redis

from vdmini_serve.api.waiting import Waiting
from vdmini_serve.contract import keys, metrics, transitions
from vdmini_serve.contract.access import AccessKey
from vdmini_serve.contract.job import Job, JobPage, decode_job, encode_new
from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.model import BEATS_UNTIL_DEAD, ModelDescriptor, WorkerBeat
from vdmini_serve.contract.problem import ProblemError, ProblemKind, attempts_used_up, queued_too_long
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.samples import SampleKey, Timing, decode_key, timing
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.ticket import ANYBODY, Ticket, cost_of

DEFAULT = Ticket()


def _anybody(_: dict[str, str]) -> bool:
    return True


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
        self._end = redis.register_script(transitions.END)
        self._published = redis.register_script(transitions.PUBLISHED)
        self._recover = redis.register_script(transitions.RECOVER)

    async def create(
        self, job_id: str, spec: JobSpec, image: bytes | None, ticket: Ticket = DEFAULT, *, retry_seconds: int = 10
    ) -> str:
        """Accept a job; a new one must be published next.

        Args:
            job_id: of a new job.
            spec: its work.
            image: PNG bytes, for image-to-video.
            ticket: how it was admitted.
            retry_seconds: what a refused client is told to wait.

        Returns:
            `job_id`, or the id of the job that its Idempotency-Key stands for already.

        Raises:
            ProblemError: when too much is active, or the Idempotency-Key stands for another request.
        """
        now, owner = time.time(), ticket.owner
        names = [keys.job_key(job_id), keys.JOBS, keys.ACTIVE, keys.image_key(job_id)]
        names += [keys.idempotency_key(owner, ticket.idempotency or ""), keys.jobs_of(owner), keys.active_of(owner)]
        limits = {
            "max_jobs": self.settings.max_active_jobs,
            "max_cost": self.settings.max_active_cost,
            "max_of_owner": ticket.max_active_of_owner,
            "cost": cost_of(spec),
            "body": ticket.body,
            "remember_seconds": self.settings.idempotency_seconds,
        }
        asked = json.dumps({name: value for name, value in limits.items() if value is not None})
        new = encode_new(job_id, spec, ticket, created_at=now, ttl_seconds=self.settings.result_ttl_seconds)
        if image is not None:
            new["image_sha256"] = sha256(image).hexdigest()
        fields = [part for pair in new.items() for part in pair]
        outcome, *former = await self._create(names, [asked, job_id, now, image or b"", *fields])
        if outcome == "created":
            return job_id
        return self._former(former[0], outcome) if former else self._refuse(outcome, ticket, retry_seconds)

    def _former(self, job_id: str, outcome: str) -> str:
        if outcome == "replayed":
            return job_id
        detail = "this Idempotency-Key was used for another request; send the same one again, or take a new key"
        raise ProblemError(ProblemKind.IDEMPOTENCY_CONFLICT, detail, job=job_id)

    def _refuse(self, what: str, ticket: Ticket, retry_seconds: int) -> NoReturn:
        kind, settings = ProblemKind.QUEUE_FULL, self.settings
        if what == "owner":
            kind = ProblemKind.TOO_MANY_OF_YOURS
            detail = f"{ticket.max_active_of_owner} jobs of this API key are waiting or running, which is its limit"
        elif what == "cost":
            detail = (
                f"what waits and runs has a cost of {settings.max_active_cost} (frames x pixels x steps), the limit"
            )
        else:
            detail = f"{settings.max_active_jobs} jobs are waiting or running, no more are taken"
        raise ProblemError(kind, detail + "; try again later", headers={"Retry-After": str(retry_seconds)})

    async def former(self, owner: str, idempotency: str, body: str) -> str | None:
        """The job that an Idempotency-Key stands for already; None when it is new.

        Raises:
            ProblemError: when it stands for another request.
        """
        job_id, known = await self.redis.hmget(keys.idempotency_key(owner, idempotency), "job", "body")
        if job_id is None or not await self.redis.exists(keys.job_key(job_id)):
            return None
        return self._former(job_id, "replayed" if known == body else "conflict")

    async def mark_published(self, job_id: str) -> None:
        """Note that the broker has the job."""
        await self._published([keys.job_key(job_id)], [time.time()])

    async def get(self, job_id: str, may_see: Callable[[dict[str, str]], bool] = _anybody) -> Job:
        """Read a job.

        Raises:
            ProblemError: when there is none of this id that one may see.
        """
        return decode_job(await self.fields(job_id, may_see))

    async def fields(self, job_id: str, may_see: Callable[[dict[str, str]], bool] = _anybody) -> dict[str, str]:
        """Read a job's Redis hash.

        Raises:
            ProblemError: when there is none of this id that one may see.
        """
        fields: dict[str, str] = await self.redis.hgetall(keys.job_key(job_id))
        if not fields or not may_see(fields):
            raise _unknown(job_id)
        return fields

    async def page(self, *, after: str | None, limit: int, owner: str = ANYBODY, oldest_first: bool = False) -> JobPage:
        """List an owner's jobs, newest first unless told otherwise, from behind the job `after`."""
        redis, start, index = self.redis, 0, keys.jobs_of(owner)
        rank_of, ids_from = (redis.zrank, redis.zrange) if oldest_first else (redis.zrevrank, redis.zrevrange)
        if after is not None:
            rank = await rank_of(index, after)
            if rank is None:
                raise ProblemError(
                    ProblemKind.UNKNOWN_JOB, f"`after` names no job: {after[:64]!r}; give `next` of a page"
                )
            start = rank + 1
        ids = await ids_from(index, start, start + limit)
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in ids[:limit]:
            pipeline.hgetall(keys.job_key(job_id))
        jobs = tuple(decode_job(fields) for fields in await pipeline.execute() if fields)
        return JobPage(jobs=jobs, next=ids[limit - 1] if len(ids) > limit else None)

    async def cancel(self, job_id: str) -> Job:
        """Ask for a job to stop; nothing happens to a finished one."""
        await self._cancel([keys.job_key(job_id)], [job_id, time.time()])
        return await self.get(job_id)

    async def end(self, job_id: str) -> None:
        """Let a job expire now; an unfinished one is cancelled first, and its worker stops at its next sign of life.

        Raises:
            ProblemError: when there is none of this id.
        """
        if not await self._end([keys.job_key(job_id)], [job_id, time.time()]):
            raise _unknown(job_id)

    async def recover(self, job_id: str) -> bool:
        """Take a job back from a dead worker; True when it must be published (again)."""
        failure = attempts_used_up(self.settings.max_attempts, job_id).model_dump_json()
        late = queued_too_long(job_id).model_dump_json()
        arguments: list[Any] = [
            job_id,
            time.time(),
            self.settings.max_attempts,
            failure,
            self.settings.unpublished_seconds,
            late,
        ]
        return bool(await self._recover([keys.job_key(job_id), keys.lease_key(job_id)], arguments))

    async def active(self) -> list[str]:
        """Ids of all jobs that are not finished."""
        ids: list[str] = await self.redis.zrange(keys.ACTIVE, 0, -1)
        return ids

    async def waiting(self) -> list[Waiting]:
        """All jobs that wait or run, oldest first."""
        ids = await self.active()
        pipeline = self.redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(keys.job_key(job_id), "task", "lane", "created_at", "status", "expected_seconds", "progress")
        rows = zip(ids, await pipeline.execute(), strict=True)
        return [_waiting(job_id, *row) for job_id, row in rows if row[3] in ("queued", "running")]

    async def timings(self) -> dict[SampleKey, Timing]:
        """What every kind of work was measured to take."""
        names = sorted(await self.redis.smembers(keys.SAMPLES))
        pipeline = self.redis.pipeline(transaction=False)
        for name in names:
            pipeline.lrange(name, 0, -1)
        measured = zip(names, await pipeline.execute(), strict=True)
        found = {decode_key(name): timing(entries) for name, entries in measured}
        return {key: value for key, value in found.items() if value is not None}

    async def access_key(self, digest: str) -> AccessKey | None:
        """The API key of a hash; None when there is none."""
        text = await self.redis.hget(keys.ACCESS_KEYS, digest)
        return AccessKey.model_validate_json(text) if text else None

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


def _unknown(job_id: str) -> ProblemError:
    detail = f"there is no job {job_id[:64]!r}; ids are what POST answered in `id` and in `Location`"
    return ProblemError(ProblemKind.UNKNOWN_JOB, detail)


def _waiting(job_id: str, *row: str) -> Waiting:
    task, lane, created_at, status, expected, progress = row
    left = float(expected) * (1 - float(progress)) if expected else None
    return Waiting(job_id, task, cast("Lane", lane), float(created_at), status == "running", left)
