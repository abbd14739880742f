"""Whether the worker of this machine lives and consumes, for `vdmini-serve healthcheck`. Imports no torch.

Celery's `inspect ping` is answered by a parent that consumes nothing, so what is judged is what a worker is for. Alive
is one whose child gave a sign of life lately, whom Redis knows, and who does not idle beside a job that waits for it.
While Redis is away a worker is alive, since a restart would only load its models again; ready it is not.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.contract import keys
from vdmini_serve.contract.job import decode_spec
from vdmini_serve.contract.model import BEATS_UNTIL_DEAD, WorkerBeat
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.heartbeat import read

REDIS_SECONDS = 2.0
"""What Redis gets to answer; a probe must not hang with it."""

OLDEST_JOBS = 50
"""How many of the oldest unfinished jobs are looked at for one that waits."""


class UnhealthyError(Exception):
    """The worker does not do what it is for; the message says what is wrong."""


def check(settings: Settings, *, ready: bool = False) -> WorkerBeat:
    """Look now.

    Args:
        settings: of the worker.
        ready: also ask that it takes jobs now: models loaded, Redis there.

    Returns:
        Its last sign of life.

    Raises:
        UnhealthyError: when it should be restarted, or with `ready`, when it takes no jobs.
        vdmini_serve.worker.heartbeat.NoHeartbeatError: when there is no sign of life at all.
    """
    beat, now = read(settings.heartbeat_file), time.time()
    _check_age(beat, settings, now)
    if ready and not (beat.ready and beat.models):
        raise UnhealthyError(f"it is {beat.state} and takes no jobs yet")
    try:
        with Redis.from_url(
            settings.jobs_url.get_secret_value(),
            decode_responses=True,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
        ) as redis:
            _check_in_redis(redis, beat, settings, now, ready=ready)
    except RedisError as error:
        if ready:
            raise UnhealthyError(f"Redis is away ({type(error).__name__}); it waits for it") from error
    return beat


def _check_age(beat: WorkerBeat, settings: Settings, now: float) -> None:
    """The parent alone speaks before its child does, once, and checking large artifacts takes long."""
    loading = beat.state == "loading"
    allowed = settings.load_timeout_seconds if loading else settings.stall_seconds
    if now - beat.at > allowed:
        raise UnhealthyError(
            f"no sign of life for {now - beat.at:.0f} s; it was {beat.state}, {allowed:g} s are allowed"
        )


def _check_in_redis(redis: Any, beat: WorkerBeat, settings: Settings, now: float, *, ready: bool) -> None:
    if not beat.ready:
        return
    told = redis.hget(keys.WORKERS, beat.id)
    silent = now - (json.loads(told)["at"] if told else 0.0)
    allowed = BEATS_UNTIL_DEAD * settings.heartbeat_seconds if ready else settings.stall_seconds
    if silent > allowed and now - (beat.since or now) > allowed:
        last = f"had its last sign of life {silent:.0f} s ago" if told else "has no sign of life of it"
        raise UnhealthyError(f"Redis answers and {last}, so nobody sends it jobs")
    _check_consuming(redis, beat, now - settings.stall_seconds)


def _check_consuming(redis: Any, beat: WorkerBeat, latest: float) -> None:
    """The child lives, and its parent may yet take nothing from the queues."""
    if beat.state != "idle" or (beat.since or latest) >= latest:
        return
    for job_id, published_at, model in _waiting(redis):
        if model in beat.models and published_at < latest:
            raise UnhealthyError(f"it has been idle since {beat.since:.0f} although job {job_id} waits for it")


def _waiting(redis: Any) -> Iterator[tuple[str, float, str]]:
    """Id, time of publishing and model of the oldest jobs that are queued and published."""
    for job_id in redis.zrange(keys.ACTIVE, 0, OLDEST_JOBS - 1):
        status, published_at, spec = redis.hmget(keys.job_key(job_id), "status", "published_at", "spec")
        if status == "queued" and published_at:
            yield job_id, float(published_at), decode_spec({"spec": spec}).model
