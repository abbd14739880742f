"""What waits and what runs: a job's place in the queue, and when it should be finished."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean

from vdmini_serve.api.store import ApiStore
from vdmini_serve.api.waiting import Waiting
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.lanes import LANES, Lane
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat

FRESH_SECONDS = 0.5
"""How long a snapshot of the queue is good enough; many clients that poll share one."""


@dataclass(frozen=True)
class Place:
    """Where a job stands.

    Args:
        position: jobs that should start before it.
        start_seconds: expected until it starts; None when that is unknown.
    """

    position: int
    start_seconds: float | None


@dataclass(frozen=True)
class Snapshot:
    """The queue at one moment.

    Args:
        jobs: waiting and running ones.
        workers: those that give signs of life and take jobs.
        tasks: model name -> task.
    """

    jobs: Sequence[Waiting]
    workers: Sequence[WorkerBeat]
    tasks: dict[str, str]

    def place(self, task: str, lane: Lane, created_at: float) -> Place:
        """Where a job stands, or would stand that came at `created_at`."""
        able = [tasks for beat in self.workers if task in (tasks := {self.tasks.get(name) for name in beat.models})]
        rivals = set().union(*able) if able else {task}
        mine = (LANES.index(lane), created_at)
        ahead = [job for job in self.jobs if job.task in rivals and (job.running or job.turn < mine)]
        position = sum(not job.running for job in ahead)
        return Place(position, self._start(ahead, len(able)))

    def _start(self, ahead: Sequence[Waiting], workers: int) -> float | None:
        """All workers share what is ahead; a job whose time is unknown counts as the others do on average."""
        if not workers:
            return None
        if len(ahead) < workers:
            return 0.0
        known = [job.left_seconds for job in ahead if job.left_seconds is not None]
        return fmean(known) * len(ahead) / workers if known else None

    def retry_seconds(self) -> int:
        """When a place in a full queue should be free: the time between two finished jobs, as far as it is known."""
        known = [job.left_seconds for job in self.jobs if job.left_seconds is not None]
        return max(1, ceil(fmean(known) / max(1, len(self.workers)))) if known else 10


class Queue:
    """Reads snapshots, at most every `FRESH_SECONDS`.

    Args:
        store: the jobs.
    """

    def __init__(self, store: ApiStore) -> None:
        self.store = store
        self._read_at = 0.0
        self._kept = Snapshot((), (), {})

    async def snapshot(self) -> Snapshot:
        """The queue of now, or of a moment ago."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            models = await self.store.models()
            beats = [beat for beat in await self.store.workers() if beat.ready]
            self._kept = Snapshot(tuple(await self.store.waiting()), beats, _tasks(models.values()))
            self._read_at = time.monotonic()
        return self._kept

    async def placed(self, job: Job) -> Job:
        """The same job with its position and when it should be finished."""
        if job.finished:
            return job
        if job.status == "running":
            left = None if job.expected_seconds is None else job.expected_seconds * (1 - job.progress)
            return job.model_copy(update={"eta_seconds": left})
        place = (await self.snapshot()).place(job.task, job.priority, job.created_at)
        known = place.start_seconds is not None and job.expected_seconds is not None
        eta = (place.start_seconds or 0) + (job.expected_seconds or 0) if known else None
        return job.model_copy(update={"queue_position": place.position, "eta_seconds": eta})


def _tasks(models: Iterable[ModelDescriptor]) -> dict[str, str]:
    return {model.name: model.task for model in models}
