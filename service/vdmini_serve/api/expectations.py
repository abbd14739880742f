"""How long work is expected to take: what it took here before. What was measured is kept by workers."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.samples import SampleKey, Timing, sample_key
from vdmini_serve.contract.ticket import cost_of

FRESH_SECONDS = 2.0
"""How long what was read is good enough to tell expectations from."""


@dataclass(frozen=True)
class Expectations:
    """Measured times of the models on the devices that are there.

    Args:
        timings: every kind of work that was measured.
        devices: of the workers that give signs of life.
    """

    timings: Mapping[SampleKey, Timing]
    devices: frozenset[str]

    def seconds(self, spec: JobSpec, model: ModelDescriptor) -> float | None:
        """Engine seconds of a job, the slowest of the devices that there are.

        Work of this very kind counts where it was measured; else the same model's other sizes and steps, in proportion
        to frames x pixels x steps. None when the model was never measured on these devices.
        """
        exact = [self.timings.get(sample_key(model, spec, device)) for device in self.devices]
        known = [timing.seconds for timing in exact if timing is not None]
        return max(known) if known else self._in_proportion(spec, model)

    def _in_proportion(self, spec: JobSpec, model: ModelDescriptor) -> float | None:
        kinds = {device: sample_key(model, spec, device) for device in self.devices}
        rates = [
            timing.seconds / _cost(key)
            for key, timing in self.timings.items()
            if (like := kinds.get(key.device)) is not None
            and (key.task, key.model, key.teacher_sha256) == (like.task, like.model, like.teacher_sha256)
        ]
        return fmean(rates) * cost_of(spec) if rates else None


def _cost(key: SampleKey) -> int:
    width, height, frames = map(int, key.size.split("x"))
    return width * height * frames * key.steps


class ExpectationsCache:
    """Reads expectations from Redis, at most every `FRESH_SECONDS`.

    Args:
        store: the jobs.
    """

    def __init__(self, store: ApiStore) -> None:
        self.store = store
        self._read_at = 0.0
        self._kept = Expectations({}, frozenset())

    async def get(self) -> Expectations:
        """The expectations of now."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            beats = await self.store.workers()
            self._kept = Expectations(await self.store.timings(), _devices(beats))
            self._read_at = time.monotonic()
        return self._kept


def _devices(beats: Iterable[WorkerBeat]) -> frozenset[str]:
    return frozenset(beat.device for beat in beats if beat.device)
