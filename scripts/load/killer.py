"""Kills members of a fleet at random, starts them again, and times how long a lost job stays lost."""

import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fleet import Fleet, Member
from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.contract import keys

log = logging.getLogger(__name__)

KINDS = ("child", "worker", "api", "redis")
DOWN_SECONDS = (0.2, 2.0)
"""Between a death and the restart by the orchestrator."""
WATCH_SECONDS = 120.0


@dataclass
class Recovery:
    """What became of a job that was running when its worker died.

    Args:
        job: its id.
        kind: what was killed.
        seconds: from the kill until it ran again, or reached its last state; None when it did neither.
    """

    job: str
    kind: str
    seconds: float | None


@dataclass
class Killer:
    """Kills and restarts.

    Args:
        fleet: what may be killed.
        dice: chooses.
        deaths: what was killed, in order.
        recoveries: of jobs that lost their worker.
    """

    fleet: Fleet
    dice: random.Random
    deaths: list[str] = field(default_factory=list)
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
        watcher = threading.Thread(target=self._watch, args=(kind, at, running), daemon=True)
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
        """Attempt of each running job."""
        with Redis.from_url(self.fleet.jobs_url, decode_responses=True) as redis, contextlib.suppress(RedisError):
            found = {
                each: redis.hmget(keys.job_key(each), "status", "attempts") for each in redis.zrange(keys.ACTIVE, 0, -1)
            }
            return {each: int(attempts) for each, (status, attempts) in found.items() if status == "running"}
        return {}

    def _watch(self, kind: str, at: float, running: dict[str, int]) -> None:
        """Follow the jobs until each has finished in its attempt, and so was not lost, or has another one."""
        left, deadline = dict(running), time.monotonic() + WATCH_SECONDS
        with Redis.from_url(self.fleet.jobs_url, decode_responses=True) as redis:
            while left and time.monotonic() < deadline:
                for job in list(left):
                    with contextlib.suppress(RedisError):
                        self._look(redis, job, kind, at, left)
                time.sleep(0.05)
        self.recoveries.extend(Recovery(job, kind, None) for job in left)

    def _look(self, redis: "Redis", job: str, kind: str, at: float, left: dict[str, int]) -> None:
        fields = redis.hgetall(keys.job_key(job))
        started, attempts = float(fields["started_at"]), int(fields["attempts"])
        if attempts > left[job]:
            self.recoveries.append(Recovery(job, kind, started - at))
        elif fields["status"] in ("queued", "running"):
            return
        elif fields["status"] != "succeeded" and float(fields["finished_at"]) - at > 5:  # closed by the reaper
            self.recoveries.append(Recovery(job, kind, float(fields["finished_at"]) - at))
        del left[job]
