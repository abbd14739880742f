"""Gauges that are read when `/metrics` is asked for: queues, workers, models, disks, what was measured."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from vdmini_serve.api.readiness import stalled_workers
from vdmini_serve.api.state import Service
from vdmini_serve.api.waiting import Waiting
from vdmini_serve.contract import keys, metrics, samples
from vdmini_serve.contract.disk import Disk
from vdmini_serve.contract.metrics import Family
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.request import size_label

Values = dict[tuple[str, ...], float]
Gauges = dict[Family, Values]


async def kept_in_redis(service: Service) -> Gauges:
    """What Redis and the broker know.

    Raises:
        RedisError: when Redis is away.
    """
    store = service.store
    workers, waiting, models = await store.workers(), await store.waiting(), (await store.models()).values()
    return {
        metrics.QUEUE_JOBS: await _queues(service, waiting),
        metrics.QUEUE_OLDEST: _oldest(waiting, time.time()),
        metrics.WORKERS: _workers(workers, await stalled_workers(store, workers)),
        metrics.GPU_MEMORY_PEAK: _peaks(workers),
        metrics.MODEL_INFO: {(each.name, each.task, each.variant, each.teacher.id): 1.0 for each in models},
        metrics.RECEIPT_SPEEDUP: _receipts(models),
        metrics.RESULTS_BYTES: {(): float(await store.redis.get(keys.RESULT_BYTES) or 0)},
        **_timings(await store.timings()),
        **_disks("artifacts", [beat.artifacts_disk for beat in workers if beat.artifacts_disk]),
    }


async def clips_disk(service: Service) -> Gauges:
    """Room for clips, with or without Redis."""
    found = await service.results.disk()
    return _disks("clips", [found] if found else [])


def _all_queues() -> tuple[str, ...]:
    return tuple(name for task in ("i2v", "t2v") for name in keys.queue_names(task))


async def _queues(service: Service, jobs: Iterable[Waiting]) -> Values:
    """Waiting is what the broker holds, running is what the job store knows to run."""
    queues = _all_queues()
    lengths = await asyncio.to_thread(_broker_lengths, service, queues)
    values: Values = {(queue, "waiting"): length for queue, length in lengths.items()}
    values |= {(queue, "running"): 0.0 for queue in queues}
    for job in jobs:
        if job.running:
            values[(keys.queue_name(job.task, job.lane), "running")] += 1
    return values


def _broker_lengths(service: Service, queues: tuple[str, ...]) -> dict[str, float]:
    with service.celery.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {queue: float(channel.client.llen(queue)) for queue in queues}


def _oldest(jobs: Iterable[Waiting], now: float) -> Values:
    values: Values = {(queue,): 0.0 for queue in _all_queues()}
    for job in jobs:
        queue = (keys.queue_name(job.task, job.lane),)
        if not job.running:
            values[queue] = max(values[queue], now - job.created_at)
    return values


def _workers(beats: Iterable[WorkerBeat], stalled: Sequence[str]) -> Values:
    counted = Counter("stalled" if beat.id in stalled else beat.state for beat in beats)
    return {(state,): float(counted[state]) for state in ("loading", "warming", "idle", "busy", "stalled")}


def _peaks(beats: Iterable[WorkerBeat]) -> Values:
    values: Values = {}
    for beat in beats:
        for model, peak in beat.gpu_memory_peak_bytes.items():
            labels = (model, beat.device or "")
            values[labels] = max(values.get(labels, 0.0), float(peak))
    return values


def _receipts(models: Iterable[ModelDescriptor]) -> Values:
    values: Values = {}
    for model in models:
        for row in model.latency:
            size = size_label(row["width"], row["height"], row["num_frames"])
            device = f"{row['device']} {row['dtype']}"
            values[(model.task, size, str(row["num_inference_steps"]), model.name, device)] = float(row["speedup"])
    return values


def _disks(volume: str, disks: Sequence[Disk]) -> Gauges:
    """The one with the least room, as a share of its size."""
    if not disks:
        return {}
    fullest = min(disks, key=lambda disk: disk.free_bytes / max(disk.size_bytes, 1))
    return {
        metrics.DISK_FREE: {(volume,): float(fullest.free_bytes)},
        metrics.DISK_SIZE: {(volume,): float(fullest.size_bytes)},
    }


def _timings(measured: dict[samples.SampleKey, samples.Timing]) -> Gauges:
    found: Gauges = {
        family: {} for family in (metrics.BASELINE, metrics.BASELINE_AT, metrics.SPEEDUP, metrics.SPEEDUP_AT)
    }
    for key, timing in measured.items():
        labels = (key.task, key.size, str(key.steps), key.guidance, key.teacher, key.device)
        baseline = measured.get(key.of_teacher)
        if not key.model:
            found[metrics.BASELINE][labels] = timing.seconds
            found[metrics.BASELINE_AT][labels] = timing.measured_at
        elif baseline is not None:
            found[metrics.SPEEDUP][(*labels, key.model)] = baseline.seconds / timing.seconds
            found[metrics.SPEEDUP_AT][(*labels, key.model)] = timing.measured_at
    return found
