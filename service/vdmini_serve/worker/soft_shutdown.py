"""How a worker ends on SIGTERM: it waits for the jobs in hand, and not a moment longer. Signals are left to Celery."""

import time
from importlib import import_module
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.contract import keys
from vdmini_serve.contract.settings import Settings

LOOK_SECONDS = 0.05


def end_softly(app: Any, settings: Settings, owner: str) -> None:
    """Replace the soft shutdown of a Celery application: it sleeps for the whole timeout when a task is running."""

    class SoftWorker(app.Worker):
        """Celery's worker but for one wait."""

        def wait_for_soft_shutdown(self) -> None:
            """Called by Celery between SIGTERM and the end of the child."""
            with Redis.from_url(settings.jobs_url.get_secret_value()) as redis:
                wait_for_jobs(redis, owner, seconds=settings.soft_shutdown_seconds)

    app.Worker = SoftWorker
    words: Any = import_module("celery.apps.worker")
    words.safe_say = lambda *_: (
        None
    )  # it writes "Hitting Ctrl+C again ..." past all logging, to whoever pressed it once


def wait_for_jobs(redis: Any, owner: str, *, seconds: float) -> bool:
    """Wait until a worker holds no lease, at most so many seconds; whether it holds none."""
    deadline = time.monotonic() + seconds
    while held := _holds(redis, owner):
        if time.monotonic() >= deadline:
            break
        time.sleep(LOOK_SECONDS)
    return not held


def _holds(redis: Any, owner: str) -> bool:
    """While Redis is away nobody knows, so the answer is yes."""
    try:
        jobs = [job_id.decode() for job_id in redis.zrange(keys.ACTIVE, 0, -1)]
        return bool(jobs) and owner.encode() in redis.mget(keys.lease_key(job_id) for job_id in jobs)
    except RedisError:
        return True
