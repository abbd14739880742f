"""Whether jobs are taken and run: workers that give signs of life and work, and room for their clips."""

import time
from collections.abc import Sequence

from pydantic import Field

from vdmini_serve.api.results import Results
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys
from vdmini_serve.contract.job import decode_spec
from vdmini_serve.contract.model import WorkerBeat
from vdmini_serve.contract.record import Record
from vdmini_serve.results.store import StoreAwayError

OLDEST_JOBS = 50
"""How many of the oldest unfinished jobs are looked at for one that waits."""


class Readiness(Record):
    """What a probe is told."""

    status: str = Field(description="ready, or everything that is wrong")
    ready: bool = Field(description="whether all is well")
    workers: tuple[WorkerBeat, ...] = Field(description="those that give signs of life")
    stalled: tuple[str, ...] = Field(description="ids of workers that idle although a job waits for them")
    free_bytes: int | None = Field(description="room on the clips' volume; null for a store without a bound")


async def readiness(store: ApiStore, results: Results) -> Readiness:
    """Look now.

    Raises:
        RedisError: when the job store is away.
    """
    workers = await store.workers()
    stalled = await stalled_workers(store, workers)
    free, wrong = await _room(results, store.settings.min_free_bytes)
    able = [worker.id for worker in workers if worker.ready and worker.models]
    if not able:
        wrong.insert(0, "no worker with loaded models")
    elif set(able) <= set(stalled):
        seconds = store.settings.stall_seconds
        wrong.insert(0, f"workers give signs of life and take no jobs for {seconds:g} s; restart {', '.join(able)}")
    return Readiness(
        status="; ".join(wrong) or "ready", ready=not wrong, workers=tuple(workers), stalled=stalled, free_bytes=free
    )


async def _room(results: Results, least: int) -> tuple[int | None, list[str]]:
    try:
        disk = await results.run(results.store.disk)
    except StoreAwayError as error:
        return None, [f"the clips' volume cannot be read ({error})"]
    free = disk.free_bytes if disk else None
    if free is not None and free < least:
        return free, [f"{free} bytes are free for clips, VDMINI_MIN_FREE_BYTES asks for {least}"]
    return free, []


async def stalled_workers(store: ApiStore, workers: Sequence[WorkerBeat]) -> tuple[str, ...]:
    """Workers whose child lives while their parent doesn't consume: idle for long beside a job that waits as long."""
    latest = time.time() - store.settings.stall_seconds
    idle = [worker for worker in workers if worker.state == "idle" and (worker.since or latest) < latest]
    waiting = await _waiting_models(store, latest) if idle else set()
    return tuple(worker.id for worker in idle if waiting & set(worker.models))


async def _waiting_models(store: ApiStore, latest: float) -> set[str]:
    """Models of the oldest jobs that the broker has had since `latest` and before."""
    pipeline = store.redis.pipeline(transaction=False)
    for job_id in await store.redis.zrange(keys.ACTIVE, 0, OLDEST_JOBS - 1):
        pipeline.hmget(keys.job_key(job_id), "status", "published_at", "spec")
    return {
        decode_spec({"spec": spec}).model
        for status, published_at, spec in await pipeline.execute()
        if status == "queued" and float(published_at or latest) < latest
    }
