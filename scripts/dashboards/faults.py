"""Errors and limits: does the service keep its promises, what is refused, and what runs out."""

from board import Board, Section, Variable
from panels import BAD, GOOD, WATCH, Ask, Column, Panel, Query, figure, grid, trend
from promql import increase, newest, rate, recorded

from vdmini_serve.contract.metrics import (
    DISK_FREE,
    DISK_SIZE,
    JOB_FAILURES,
    JOBS,
    MODEL_INFO,
    REDIS_UP,
    REJECTED,
    RESULTS_BYTES,
    RESULTS_REMOVED,
    WEBHOOK_DELIVERIES,
)

OUTCOMES = {"succeeded": "#73BF69", "failed": "#F2495C", "cancelled": "#808080"}
DELIVERIES = {"delivered": "#73BF69", "retried": "#FADE2A", "failed": "#F2495C"}
ALLOWED = 0.01
"""Of the work that could be done, 99 % is promised to end in a clip (docker/prometheus/rules/alerts.yml)."""
NOBODY = "The API says nothing: it is down, or Prometheus does not reach it; docs/runbooks.md, ApiDown"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="vdmini-faults",
        title="Errors and limits",
        description="Does the service keep its promises, what does it refuse, and what runs out?",
        variables=(
            Variable("task", "Task", f"label_values({MODEL_INFO.name}, task)", "Filters what is told of jobs."),
            Variable(
                "variant", "Variant", f"label_values({MODEL_INFO.name}, variant)", "Filters what is told of jobs."
            ),
        ),
        sections=(
            Section("Does the service keep its promises?", (_api(), _redis(), _failing(), _budget(), _alerts())),
            Section("Which jobs fail?", (_outcomes(), _reasons(), _burn(), _late())),
            Section("What is refused?", (_refused(), _refusals())),
            Section("What runs out, and do results arrive?", (_disk(), _clips(), _removed(), _webhooks())),
        ),
    )


def _api() -> Panel:
    ask = Ask(
        title="Does the API answer?",
        shows="Whether Prometheus gets /metrics.",
        good="yes.",
        otherwise="nothing can be accepted or downloaded.",
        runbooks=("ApiDown",),
        empty="no",
        unit="none",
        width=3,
        height=6,
        steps=((None, BAD), (1.0, GOOD)),
    )
    return figure(ask, Query(f"clamp_max(count({REDIS_UP.name}), 1)"), words={"1": "yes", "0": "no"})


def _redis() -> Panel:
    ask = Ask(
        title="Is Redis reached?",
        shows="Whether the API reaches the store of all jobs.",
        good="yes.",
        otherwise="accepted jobs are safe if Redis keeps its append-only file.",
        runbooks=("RedisDown",),
        empty=NOBODY,
        unit="none",
        width=3,
        height=6,
        steps=((None, BAD), (1.0, GOOD)),
    )
    return figure(ask, Query(f"min({REDIS_UP.name})"), words={"1": "yes", "0": "no"})


def _failing() -> Panel:
    ask = Ask(
        title="How many jobs fail by our fault?",
        shows="Of the work that could be done in the last hour, the share that failed for a reason that is not the "
        "client's.",
        good="below 1 %, the promise.",
        otherwise="the panel of reasons below says why.",
        runbooks=("ErrorBudgetBurn",),
        empty="Nothing was asked of the service in the last hour",
        unit="percentunit",
        width=4,
        height=6,
        decimals=2,
        steps=((None, GOOD), (ALLOWED, WATCH), (14.4 * ALLOWED, BAD)),
    )
    return figure(ask, Query(recorded("service:vdmini_errors:ratio_rate1h")))


def _budget() -> Panel:
    ask = Ask(
        title="How much may still fail?",
        shows="In 30 days 1 % of the work may fail. 100 %: nothing failed. 0 %: all that may fail has. Below: the "
        "promise is broken. Where Prometheus keeps less than 30 days, of what it keeps.",
        good="more than a quarter.",
        otherwise="change nothing that need not be changed until it has grown.",
        runbooks=("ErrorBudgetBurn",),
        empty="Nothing was asked of the service in 30 days",
        unit="percentunit",
        width=4,
        height=6,
        decimals=0,
        steps=((None, BAD), (0.0, WATCH), (0.25, GOOD)),
    )
    failed = "sum(sum_over_time(service:vdmini_errors:rate5m[30d]))"
    done = 'sum(sum_over_time(task_variant_outcome:vdmini_jobs:rate5m{outcome="succeeded"}[30d]))'
    return figure(ask, Query(f"1 - {failed} / ({ALLOWED} * ({failed} + {done} > 0))"))


def _alerts() -> Panel:
    ask = Ask(
        title="Which alerts fire?",
        shows="Alerts of docker/prometheus/rules/alerts.yml that fire now.",
        good="an empty table.",
        otherwise="docs/runbooks.md has a section of that name.",
        empty="None fires",
        unit="none",
        width=10,
        height=6,
    )
    firing = 'max by (alertname, severity, task, model, reason) (ALERTS{alertstate="firing", alertname!="Watchdog"})'
    columns = (
        Column("alertname", "Alert"),
        Column("severity", "Severity"),
        Column("task", "Task"),
        Column("model", "Model"),
        Column("reason", "Reason"),
    )
    return grid(ask, Query(firing), columns=columns)


def _outcomes() -> Panel:
    ask = Ask(
        title="How do jobs end?",
        shows="Finished jobs a minute by outcome, stacked.",
        good="green; grey are clients' own cancels.",
        otherwise="red: see the reasons beside.",
        empty="No model was loaded in this time",
        unit="suffix:/min",
    )
    ended = f"60 * {rate(JOBS, 'task', 'variant', by=('outcome',))}"
    return trend(ask, Query(ended, "{{outcome}}"), stacked=True, colors=OUTCOMES)


def _reasons() -> Panel:
    ask = Ask(
        title="Why do jobs fail?",
        shows="Failed jobs by the kind of their problem, in the time above and since the service counts. The first "
        "failure of a client's making is in the latter alone: its counter was not there before.",
        good="an empty table, or kinds that are old, or of clients' making (prompt-too-long).",
        otherwise="internal-error: the worker's log has the traceback beside the job's id. worker-lost: a worker died "
        "three times with it. out-of-memory: fewer frames, a smaller size. storage-full: see below.",
        empty="No job failed",
        unit="none",
        decimals=0,
    )
    kind = ("task", "variant", "reason")
    ever = f"({newest(JOB_FAILURES, 'task', 'variant')} > 0)"
    lately = increase(JOB_FAILURES, "task", "variant", by=kind)
    columns = (
        Column("task", "Task"),
        Column("variant", "Variant"),
        Column("reason", "Reason"),
        Column("Value #A", "In this time"),
        Column("Value #B", "Since ever"),
    )
    return grid(ask, Query(f"{lately} and {ever}"), Query(ever), columns=columns)


def _burn() -> Panel:
    ask = Ask(
        title="How fast is the error budget used up?",
        shows="1: exactly in 30 days. An alert wakes somebody above 14.4 over an hour, and is looked at above 6 over "
        "6 hours.",
        good="below 1.",
        otherwise="the reasons beside say what fails; make it stop, or roll back what was changed last.",
        runbooks=("ErrorBudgetBurn",),
        empty="Nothing was asked of the service in this time",
        unit="none",
        steps=((None, GOOD), (6.0, WATCH), (14.4, BAD)),
    )
    return trend(
        ask,
        Query(f"{recorded('service:vdmini_errors:ratio_rate1h')} / {ALLOWED}", "over an hour"),
        Query(f"{recorded('service:vdmini_errors:ratio_rate6h')} / {ALLOWED}", "over 6 hours"),
        line_at=True,
    )


def _late() -> Panel:
    ask = Ask(
        title="How many jobs start late?",
        shows="Share of the jobs that had waited longer than a minute for their start. 5 % are allowed (the line).",
        good="below the line.",
        otherwise="more work than workers: see the dashboard Queue and workers.",
        runbooks=("WaitBudgetBurn",),
        empty="No job was finished in this time",
        unit="percentunit",
        steps=((None, GOOD), (0.05, BAD)),
    )
    return trend(
        ask,
        Query(f"{recorded('service:vdmini_late_starts:ratio_rate5m')} >= 0", "in 5 minutes"),
        Query(f"{recorded('service:vdmini_late_starts:ratio_rate1h')} >= 0", "in an hour"),
        line_at=True,
    )


def _refused() -> Panel:
    ask = Ask(
        title="Why are requests refused?",
        shows="Requests that were answered with a problem, in the 5 minutes before each point, by its kind.",
        good="few, and of clients' making (unknown-field, invalid-field, ...).",
        otherwise="queue-full, queue-too-slow: more work than workers. key-unknown in numbers: somebody tries keys. "
        "store-unavailable: Redis.",
        runbooks=("RequestsRefused",),
        empty="No request was refused",
        unit="none",
        width=16,
        decimals=0,
    )
    return trend(
        ask, Query(f"{increase(REJECTED, by=('reason',), window='5m')} > 0", "{{reason}}"), stacked=True, as_bars=True
    )


def _refusals() -> Panel:
    ask = Ask(
        title="Which refusals are most frequent?",
        shows="Requests in the whole time that were answered with a problem, the ten most frequent kinds.",
        good="kinds that clients can mend, and know how: each answer says what is allowed and what to do.",
        otherwise="see beside.",
        empty="No request was refused",
        unit="none",
        width=8,
        decimals=0,
    )
    counted = f"topk(10, {increase(REJECTED, by=('reason',))} > 0)"
    return grid(ask, Query(counted), columns=(Column("reason", "Reason"), Column("Value", "Requests", "none")))


def _disk() -> Panel:
    ask = Ask(
        title="How much room is left on the volumes?",
        shows="Free share of the volumes of the clips and of the artifacts. The red line is where alerts begin.",
        good="above 25 %.",
        otherwise="a larger volume, or a shorter life of clips.",
        runbooks=("ClipDiskFull", "ArtifactDiskFull"),
        empty="Nothing is known of volumes: clips go to a store without a bound",
        unit="percentunit",
        steps=((None, BAD), (0.1, GOOD)),
    )
    share = f"{newest(DISK_FREE)} / {newest(DISK_SIZE)}"
    return trend(ask, Query(share, "{{volume}}"), line_at=True)


def _clips() -> Panel:
    ask = Ask(
        title="How much room do clips take?",
        shows="Bytes of the clips of all jobs that are not expired.",
        good="level: as much expires as is made.",
        otherwise="growing without end: are jobs removed at all? See beside.",
        empty="The API said nothing in this time: was it up, and did it reach Redis?",
        unit="bytes",
    )
    return trend(ask, Query(f"max({RESULTS_BYTES.name})", "clips"))


def _removed() -> Panel:
    ask = Ask(
        title="Are old files removed?",
        shows="Files removed in the hour before each point: expired with their job, stray (of dead attempts), or "
        "partial (left by processes that died).",
        good="expired ones, once the oldest jobs have reached their age (a week by default).",
        otherwise="many stray or partial: workers die; see the dashboard Queue and workers.",
        empty="No file was removed",
        unit="none",
        decimals=0,
    )
    removed = increase(RESULTS_REMOVED, by=("reason",), window="1h")
    return trend(ask, Query(f"{removed} > 0", "{{reason}}"), stacked=True, as_bars=True)


def _webhooks() -> Panel:
    ask = Ask(
        title="Do webhooks arrive?",
        shows="Attempts at sending a webhook in the 5 minutes before each point: delivered, retried later, or given "
        "up.",
        good="delivered.",
        otherwise="failed: a client's address did not answer for two hours; its name is in the API's log.",
        empty="No webhook was sent",
        unit="none",
        decimals=0,
    )
    sent = increase(WEBHOOK_DELIVERIES, by=("outcome",), window="5m")
    return trend(ask, Query(f"{sent} > 0", "{{outcome}}"), stacked=True, as_bars=True, colors=DELIVERIES)
