"""Finding jobs whose worker died, or that were never published. What becomes of them is decided by a Lua script."""

import asyncio
import logging

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from vdmini_serve.api.store import ApiStore
from vdmini_serve.api.stray import StrayJobs
from vdmini_serve.api.turn import Turn
from vdmini_serve.contract import keys
from vdmini_serve.contract.broker import publish
from vdmini_serve.contract.lanes import Lane

log = logging.getLogger(__name__)

TURN_HEARTBEATS = 1.5
"""Another replica takes over so soon after the one that looked has died: what it would have found waits so long."""


async def publish_job(store: ApiStore, app: Celery, job_id: str, task: str, lane: Lane) -> None:
    """Hand an accepted job to the broker and note it; if that fails the reaper does it later."""
    await asyncio.to_thread(publish, app, job_id, task, lane)
    await store.mark_published(job_id)


async def reap(store: ApiStore, app: Celery) -> None:
    """Look for lost jobs until cancelled, one replica at a time."""
    stray, heartbeat = StrayJobs(store, app), store.settings.heartbeat_seconds
    turn = Turn(store.redis, keys.REAPING, seconds=TURN_HEARTBEATS * heartbeat)
    while True:
        await asyncio.sleep(heartbeat)
        try:
            if not await turn.mine():
                continue
            for job_id in await store.active():
                if await store.recover(job_id):
                    log.warning("job %s is published again", job_id)
                    await _publish_again(store, app, job_id)
            for job_id in await stray.find():
                log.warning("job %s had no message any more and is published again", job_id)
                await _publish_again(store, app, job_id)
        except (RedisError, OperationalError) as error:
            log.warning("cannot look for lost jobs: %s", error)


async def _publish_again(store: ApiStore, app: Celery, job_id: str) -> None:
    """A job that had begun has waited already: it goes before all that wait."""
    job = await store.get(job_id)
    await publish_job(store, app, job_id, job.task, "high" if job.attempts else job.priority)
