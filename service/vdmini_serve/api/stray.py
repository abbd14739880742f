"""Jobs that were published, but that no queue holds any more. Publishing them again is left to `api.reaper`.

A message is lost when Redis hands it out and dies before the worker has read it, or when the worker dies between
receiving it and claiming the job: the broker would give that one back only after the visibility timeout. A second
message does no harm: a job is claimed once.
"""

import asyncio
import base64
import json
import time
from typing import Any

from celery import Celery

from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys

CLAIM_KEY = "vdmini:stray:"
"""Redis key, completed by a job's id, that lets one replica publish it again and not all of them."""


class StrayJobs:
    """Finds queued jobs that have had no message for a while.

    Args:
        store: the jobs.
        app: the broker.
    """

    def __init__(self, store: ApiStore, app: Celery) -> None:
        self.store, self.app = store, app
        self._missing_since: dict[str, float] = {}

    async def find(self) -> list[str]:
        """Jobs that this replica must publish again; ask every few seconds.

        A worker needs a moment between taking a message and claiming its job, so a job counts as stray when it was
        missing for `unpublished_seconds`.
        """
        queued = await self._queued()
        held = await asyncio.to_thread(held_jobs, self.app) if queued else set()
        now, patience = time.monotonic(), self.store.settings.unpublished_seconds
        self._missing_since = {each: self._missing_since.get(each, now) for each in queued if each not in held}
        overdue = [each for each, since in self._missing_since.items() if now - since >= patience]
        milliseconds = int(patience * 1000)
        return [each for each in overdue if await self.store.redis.set(CLAIM_KEY + each, 1, nx=True, px=milliseconds)]

    async def _queued(self) -> list[str]:
        ids = await self.store.active()
        pipeline = self.store.redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(keys.job_key(job_id), "status", "published")
        states = await pipeline.execute()
        return [job_id for job_id, state in zip(ids, states, strict=True) if state == ["queued", "1"]]


def held_jobs(app: Celery) -> set[str]:
    """Ids of the jobs in all queues; messages that a worker has received and not yet acknowledged are not in them."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        client = channel.client
        names = list(client.scan_iter(keys.QUEUES_PATTERN, _type="list"))
        return {_job_id(message) for name in names for message in client.lrange(name, 0, -1)}


def _job_id(message: bytes) -> str:
    arguments, *_ = json.loads(base64.b64decode(json.loads(message)["body"]))
    return str(arguments[0])
