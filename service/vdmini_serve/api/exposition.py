"""`/metrics`: what Redis counted, and gauges that are read at scrape time, in Prometheus' text format."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from kombu.exceptions import OperationalError
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from redis.exceptions import RedisError

from vdmini_serve.api import preference
from vdmini_serve.api.gauges import Gauges, Values, clips_disk, kept_in_redis
from vdmini_serve.api.state import Service
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.metrics import Family
from vdmini_serve.contract.problem import ProblemKind

log = logging.getLogger(__name__)

PING_SECONDS = 2.0
"""What Redis gets for its first answer; a scrape waits 10 s by default."""

READ_SECONDS = 5.0
"""What everything else may take."""

Cells = dict[str, dict[tuple[str, ...], dict[str, float]]]


async def render(service: Service) -> bytes:
    """Everything in Prometheus' text format. While Redis is away or hangs, that, and what is known without it."""
    clips = await clips_disk(service)
    try:
        cells = await asyncio.wait_for(_counted(service), PING_SECONDS)
        gauges = await asyncio.wait_for(kept_in_redis(service), READ_SECONDS)
    except (RedisError, OperationalError, OSError) as error:  # a TimeoutError is an OSError, too
        log.warning("metrics are told without Redis: %s", str(error) or type(error).__name__)
        return generate_latest(_Snapshot({}, _together(clips, {metrics.REDIS_UP: {(): 0.0}})))
    gauges = _together(clips, gauges, _preferences(cells), {metrics.REDIS_UP: {(): 1.0}})
    return await asyncio.to_thread(generate_latest, _Snapshot(cells, gauges))


def _together(*parts: Gauges) -> Gauges:
    """All values of all parts; a family may have some in each."""
    found: Gauges = defaultdict(dict)
    for part in parts:
        for family, values in part.items():
            found[family] |= values
    return found


async def _counted(service: Service) -> Cells:
    """The counters; of refusals all, so that rates see the first one."""
    cells = _by_family(await service.store.redis.hgetall(keys.METRICS))
    for kind in ProblemKind:
        cells[metrics.REJECTED.name].setdefault((kind.value,), {})
    return cells


class _Snapshot:
    """What prometheus_client calls a registry, as far as its text format needs one."""

    def __init__(self, cells: Cells, gauges: Gauges) -> None:
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


def _preferences(cells: Cells) -> Gauges:
    votes = {labels: parts["value"] for labels, parts in cells.get(metrics.VOTES.name, {}).items()}
    return preference.gauges(preference.preferences(votes))
