"""Kills members of a fleet at random, starts them again, and times how long a lost job stays lost."""

import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fleet import Fleet, Member
from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.contract import keys

log = logging.getLogger(__name__)

KINDS = ("child", "worker", "api", "redis")
DOWN_SECONDS = (0.2, 2.0)
"""Between a death and the restart by the orchestrator."""
WATCH_SECONDS = 120.0
LEASE_SECONDS = 10.0
"""The service's own default."""
STALE_SECONDS = 3.0
"""A lease is renewed every 2 seconds."""
RENEWED_AFTER_SECONDS = 0.3
"""A lease that was renewed so long after a kill is held by somebody who lives."""


@dataclass
class Recovery:
    """What became of a job that was running when its worker died.

    Args:
        job: its id.
        kind: what was killed.
        at: Unix time of the kill.
        other_ready: whether another worker was ready then.
        seconds: from the kill until it ran again, or reached its last state; None when it did neither.
    """

    job: str
    kind: str
    at: float
    other_ready: bool
    seconds: float | None = None


@dataclass
class Killer:
    """Kills and restarts.

    Args:
        fleet: what may be killed.
        dice: chooses.
        deaths: what was killed, in order.
        times: Unix times of these kills.
        recoveries: of jobs that lost their worker.
    """

    fleet: Fleet
    dice: random.Random
    deaths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    watchers: list[threading.Thread] = field(default_factory=list)

    def run(self, kills: int, *, share_done: Callable[[], float], going_on: Callable[[], bool]) -> None:
        """Spread so many kills over the run, by the share of jobs that are done."""
        plan = [kind for _ in range(kills) for kind in KINDS][:kills]
        self.dice.shuffle(plan)
        moments = sorted(self.dice.uniform(0.03, 0.9) for _ in plan)
        for moment, kind in zip(moments, plan, strict=True):
            while share_done() < moment and going_on():
                time.sleep(0.05)
            if not going_on():
                return
            self.kill(kind)

    def kill(self, kind: str) -> None:
        """Kill one of a kind, and start it again after a moment."""
        victim = self._victim(kind)
        running = self._running_jobs() if kind in ("child", "worker") else {}
        other_ready = bool(running) and self.fleet.ready_workers() > 1
        child = victim.child() if kind == "child" else None
        if kind == "child" and child is None:
            return self.kill("worker")  # it is starting just now
        at = time.time()
        with self.fleet.guard:
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            else:
                victim.kill()
                time.sleep(self.dice.uniform(*DOWN_SECONDS))
                victim.start()
        log.info("killed %s (%s)", victim.name, kind)
        self.deaths.append(f"{kind} {victim.name}")
        self.times.append(at)
        lost = {job: (attempt, Recovery(job, kind, at, other_ready)) for job, attempt in running.items()}
        watcher = threading.Thread(target=self._watch, args=(lost,), daemon=True)
        watcher.start()
        self.watchers.append(watcher)
        return None

    def _victim(self, kind: str) -> Member:
        choice: dict[str, list[Member]] = {
            "child": self.fleet.workers,
            "worker": self.fleet.workers,
            "api": list(self.fleet.apis.values()),
            "redis": [self.fleet.redis],
        }
        return self.dice.choice(choice[kind])

    def _running_jobs(self) -> dict[str, int]:
        """Attempt of each job that a worker has in hand: one whose lease is stale was lost before."""
        found: dict[str, int] = {}
        with Redis.from_url(self.fleet.jobs_url, decode_responses=True) as redis, contextlib.suppress(RedisError):
            for job in redis.zrange(keys.ACTIVE, 0, -1):
                status, attempts = redis.hmget(keys.job_key(job), "status", "attempts")
                if status == "running" and redis.pttl(keys.lease_key(job)) / 1000 > LEASE_SECONDS - STALE_SECONDS:
                    found[job] = int(attempts)
        return found

    def calm(self, recovery: Recovery) -> bool:
        """Whether another worker was ready, and nothing else was killed until the job ran again."""
        until = recovery.at + (recovery.seconds or WATCH_SECONDS)
        return recovery.other_ready and not any(recovery.at < time < until for time in self.times)

    def _watch(self, running: dict[str, tuple[int, Recovery]]) -> None:
        """Follow jobs until each has another attempt, or turns out to be in other hands than the victim's."""
        left, deadline = dict(running), time.monotonic() + WATCH_SECONDS
        with Redis.from_url(self.fleet.jobs_url, decode_responses=True) as redis:
            while left and time.monotonic() < deadline:
                for job, (attempt, recovery) in list(left.items()):
                    with contextlib.suppress(RedisError):
                        if self._look(redis, attempt, recovery):
                            del left[job]
                time.sleep(0.05)
        self.recoveries.extend(recovery for _, recovery in left.values())

    def _look(self, redis: "Redis", attempt: int, recovery: Recovery) -> bool:
        """Note a recovery; true when there is nothing more to look for."""
        fields = redis.hgetall(keys.job_key(recovery.job))
        if int(fields["attempts"]) > attempt:
            seconds = float(fields["started_at"]) - recovery.at
            self.recoveries.append(replace(recovery, seconds=seconds))
            return True
        if fields["status"] in ("succeeded", "failed", "cancelled"):
            ended = float(fields["finished_at"]) - recovery.at
            if fields["status"] != "succeeded" and ended > LEASE_SECONDS / 2:  # by the reaper and not by a worker
                self.recoveries.append(replace(recovery, seconds=ended))
            return True
        left = redis.pttl(keys.lease_key(recovery.job)) / 1000
        return left > 0 and time.time() + left - LEASE_SECONDS > recovery.at + RENEWED_AFTER_SECONDS
