"""PromQL out of the declared metrics: a misspelt metric or label is an error here, not an empty panel.

Variables of a dashboard are called like the labels that they filter, so `select(JOB_LATENCY, "task")` asks for
`task=~"$task"`. What is asked, and how it is drawn, is left to the dashboards.
"""

from collections.abc import Iterable, Mapping, Sequence

from vdmini_serve.contract.metrics import Family

NOW = "$__rate_interval"
"""Short enough to show a change, long enough for four scrapes: Grafana works it out."""
WHOLE = "$__range"
"""All of the time that the dashboard shows."""


def select(family: Family, *variables: str, part: str = "", **matchers: str) -> str:
    """The series of a metric.

    Args:
        family: whose.
        variables: labels that the dashboard's variables of the same name filter.
        part: `bucket`, `sum` or `count` of a histogram.
        matchers: label=regular expression, beside the variables'.

    Raises:
        ValueError: the metric has no such label or part.
    """
    _check(family, (*variables, *matchers))
    if (family.kind == "histogram") != (part in {"bucket", "sum", "count"}):
        raise ValueError(f"{family.name} is a {family.kind} and has no part {part!r}")
    return _matching(family.name + (f"_{part}" if part else ""), variables, matchers)


def recorded(rule: str, *variables: str, **matchers: str) -> str:
    """The series of a recording rule (docker/prometheus/rules)."""
    return _matching(rule, variables, matchers)


def newest(family: Family, *variables: str, by: Sequence[str] = (), **matchers: str) -> str:
    """What a metric stands at, once, however many replicas of the API show it; by all its labels or some."""
    _check(family, by)
    labels = ", ".join(by or family.labels)
    return f"max by ({labels}) ({select(family, *variables, **matchers)})"


def rate(family: Family, *variables: str, by: Sequence[str], **matchers: str) -> str:
    """What a counter gains a second."""
    return _gain("rate", family, variables, by=by, window=NOW, matchers=matchers)


def increase(family: Family, *variables: str, by: Sequence[str], window: str = WHOLE, **matchers: str) -> str:
    """What a counter gained."""
    return _gain("increase", family, variables, by=by, window=window, matchers=matchers)


def quantile(
    share: float, family: Family, *variables: str, by: Sequence[str], window: str = NOW, **matchers: str
) -> str:
    """A quantile of a histogram; nothing, rather than NaN, where nothing was observed."""
    _check(family, by)
    buckets = select(family, *variables, part="bucket", **matchers)
    return f"histogram_quantile({share}, sum by (le, {', '.join(by)}) (rate({buckets}[{window}]))) >= 0"


def ratio(part: str, whole: str) -> str:
    """Nothing, rather than NaN, where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def _gain(
    function: str, family: Family, variables: Sequence[str], *, by: Sequence[str], window: str, matchers: dict[str, str]
) -> str:
    """Summed over all labels but `by`, each series once, however many replicas show it."""
    _check(family, by)
    once = f"max by ({', '.join(family.labels)}) ({function}({select(family, *variables, **matchers)}[{window}]))"
    return f"sum by ({', '.join(by)}) ({once})" if by else f"sum({once})"


def _matching(name: str, variables: Sequence[str], matchers: Mapping[str, str]) -> str:
    wanted = [(label, f"${label}") for label in variables] + list(matchers.items())
    inside = ", ".join(f'{label}=~"{value}"' for label, value in wanted)
    return name + (f"{{{inside}}}" if inside else "")


def _check(family: Family, labels: Iterable[str]) -> None:
    unknown = sorted({*labels} - {*family.labels})
    if unknown:
        raise ValueError(f"{family.name} has no label {unknown}; it has {family.labels}")
