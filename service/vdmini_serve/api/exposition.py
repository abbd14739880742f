"""`/metrics`: what Redis counted, and gauges that are read at scrape time, in Prometheus' text format."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from vdmini_serve.api import preference
from vdmini_serve.api.readiness import stalled_workers
from vdmini_serve.api.state import Service
from vdmini_serve.contract import keys, metrics, samples
from vdmini_serve.contract.metrics import Family
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat

Values = dict[tuple[str, ...], float]
Cells = dict[str, dict[tuple[str, ...], dict[str, float]]]


async def render(service: Service) -> bytes:
    """Everything in Prometheus' text format."""
    store = service.store
    cells = _by_family(await store.redis.hgetall(keys.METRICS))
    workers = await store.workers()
    gauges: dict[Family, Values] = {
        metrics.QUEUE_JOBS: await _queues(service),
        metrics.WORKERS: _workers(workers, await stalled_workers(store, workers)),
        metrics.MODEL_INFO: _models((await store.models()).values()),
        metrics.RESULTS_BYTES: {(): float(await store.redis.get(keys.RESULT_BYTES) or 0)},
        **_timings(await store.timings()),
        **_preferences(cells),
    }
    return await asyncio.to_thread(generate_latest, _Snapshot(cells, gauges))


class _Snapshot:
    """What prometheus_client calls a registry, as far as its text format needs one."""

    def __init__(self, cells: Cells, gauges: dict[Family, Values]) -> None:
        self.cells, self.gauges = cells, gauges

    def collect(self) -> Iterator[Metric]:
        """One metric for each declared family, also for those without any number yet."""
        for family in metrics.FAMILIES:
            if family.kind == "gauge":
                yield _gauge(family, self.gauges.get(family, {}))
            elif family.kind == "counter":
                yield _counter(family, self.cells.get(family.name, {}))
            else:
                yield _histogram(family, self.cells.get(family.name, {}))


def _by_family(fields: dict[str, str]) -> Cells:
    found: Cells = defaultdict(lambda: defaultdict(dict))
    for field, value in fields.items():
        name, labels, part = metrics.parse_cell(field)
        found[name][labels][part] = float(value)
    return found


def _gauge(family: Family, values: Values) -> Metric:
    metric = GaugeMetricFamily(family.name, family.documentation, labels=family.labels)
    for labels, value in sorted(values.items()):
        metric.add_metric(labels, value)
    return metric


def _counter(family: Family, values: dict[tuple[str, ...], dict[str, float]]) -> Metric:
    metric = CounterMetricFamily(family.name, family.documentation, labels=family.labels)
    for labels, parts in sorted(values.items()):
        metric.add_metric(labels, parts.get("value", 0))
    return metric


def _histogram(family: Family, values: dict[tuple[str, ...], dict[str, float]]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.documentation, labels=family.labels)
    bounds = [*(repr(float(bound)) for bound in family.buckets), "+Inf"]
    for labels, parts in sorted(values.items()):
        totals = accumulate(parts.get(str(index), 0) for index in range(len(bounds)))
        metric.add_metric(labels, buckets=list(zip(bounds, totals, strict=True)), sum_value=parts.get("sum", 0))
    return metric


async def _queues(service: Service) -> Values:
    """Waiting is what the broker holds, running is what the job store knows to run."""
    queues = tuple(name for task in ("i2v", "t2v") for name in keys.queue_names(task))
    lengths = await asyncio.to_thread(_broker_lengths, service, queues)
    values: Values = {(queue, "waiting"): length for queue, length in lengths.items()}
    values |= {(queue, "running"): 0.0 for queue in queues}
    for job in await service.store.waiting():
        if job.running:
            values[(keys.queue_name(job.task, job.lane), "running")] += 1
    return values


def _broker_lengths(service: Service, queues: tuple[str, ...]) -> dict[str, float]:
    with service.celery.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {queue: float(channel.client.llen(queue)) for queue in queues}


def _workers(beats: Iterable[WorkerBeat], stalled: Container[str]) -> Values:
    counted = Counter("stalled" if beat.id in stalled else beat.state for beat in beats)
    return {(state,): float(counted[state]) for state in ("loading", "warming", "idle", "busy", "stalled")}


def _models(descriptors: Iterable[ModelDescriptor]) -> Values:
    return {(each.name, each.task, each.variant, each.teacher.id): 1.0 for each in descriptors}


def _preferences(cells: Cells) -> dict[Family, Values]:
    votes = {labels: parts["value"] for labels, parts in cells[metrics.VOTES.name].items()}
    return preference.gauges(preference.preferences(votes))


def _timings(measured: dict[samples.SampleKey, samples.Timing]) -> dict[Family, Values]:
    baselines: Values = {}
    speedups: Values = {}
    for key, timing in measured.items():
        labels = (key.task, key.size, str(key.steps), key.guidance, key.teacher, key.device)
        baseline = measured.get(key.of_teacher)
        if not key.model:
            baselines[labels] = timing.seconds
        elif baseline is not None:
            speedups[(*labels, key.model)] = baseline.seconds / timing.seconds
    return {metrics.BASELINE: baselines, metrics.SPEEDUP: speedups}
