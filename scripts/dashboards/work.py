"""Queue and workers: can a client get a clip now, and is there enough capacity."""

from board import Board, Section, Variable
from panels import BAD, GOOD, STUDENT, TEACHER, WATCH, Ask, Column, Panel, Query, figure, grid, trend
from promql import newest, quantile, rate, ratio

from vdmini_serve.contract.metrics import (
    GPU_MEMORY_PEAK,
    JOBS,
    MODEL_INFO,
    QUEUE_JOBS,
    QUEUE_OLDEST,
    QUEUE_WAIT,
    WORKERS,
)

OF_TASK = "vdmini[.]($task)[.].*"
"""Queues carry task and priority in their names."""
STATES = {"idle": "#73BF69", "busy": "#5794F2", "warming": "#FADE2A", "loading": "#FFCB7D", "stalled": "#F2495C"}
VARIANTS = {"compressed": STUDENT, "uncompressed": TEACHER}


NOTHING_SAID = "The API says nothing: is it up, and does it reach Redis? See the dashboard Errors and limits"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="vdmini-work",
        title="Queue and workers",
        description="Can a client get a clip now, and are there enough workers?",
        variables=(
            Variable("task", "Task", f"label_values({MODEL_INFO.name}, task)", "Image to video or text to video."),
            Variable("variant", "Variant", f"label_values({MODEL_INFO.name}, variant)", "Filters waits and jobs."),
        ),
        sections=(
            Section("Can a client get a clip now?", (_waiting(), _oldest(), _ready(), _stalled(), _busy())),
            Section("Is there enough capacity?", (_queues(), _waits(), _workers(), _throughput())),
            Section("What is loaded, and does it fit?", (_models(), _memory())),
        ),
    )


def _waiting() -> Panel:
    ask = Ask(
        title="How many jobs are waiting?",
        shows="Jobs that the broker holds and no worker has taken, all priorities.",
        good="0, or a number that shrinks. What counts is how long they wait: see beside.",
        otherwise="add workers if it grows for minutes.",
        runbooks=("WaitBudgetBurn",),
        empty=NOTHING_SAID,
        unit="none",
        width=4,
        height=5,
        decimals=0,
    )
    return figure(ask, Query(f"sum({newest(QUEUE_JOBS, state='waiting', queue=OF_TASK)})"))


def _oldest() -> Panel:
    ask = Ask(
        title="How long has the oldest job waited?",
        shows="Time since the acceptance of the job that has waited longest.",
        good="below a minute: 95 % of the jobs are promised to start within one.",
        otherwise="above 10 minutes with nothing running, no worker serves that queue.",
        runbooks=("QueueStuck",),
        empty=NOTHING_SAID,
        unit="s",
        width=5,
        height=5,
        decimals=0,
        steps=((None, GOOD), (60.0, WATCH), (600.0, BAD)),
    )
    return figure(ask, Query(f"max({newest(QUEUE_OLDEST, queue=OF_TASK)})"))


def _ready() -> Panel:
    ask = Ask(
        title="How many workers take jobs?",
        shows="Workers that idle or are busy; those that load or warm up take none yet. They serve all tasks.",
        good="as many as were started.",
        otherwise="0 takes no job at all: read a worker's log, and /readyz, which names artifacts that were refused.",
        empty=NOTHING_SAID,
        unit="none",
        width=5,
        height=5,
        decimals=0,
        steps=((None, BAD), (1.0, GOOD)),
    )
    return figure(ask, Query(f"sum({newest(WORKERS, state='idle|busy')})"))


def _stalled() -> Panel:
    ask = Ask(
        title="Is a worker stalled?",
        shows="Workers that idle beside a job that waits for them: alive, and consuming nothing.",
        good="none.",
        otherwise="restart it, its job is safe.",
        runbooks=("WorkerNotConsuming",),
        empty=NOTHING_SAID,
        unit="none",
        width=5,
        height=5,
        decimals=0,
        steps=((None, GOOD), (1.0, BAD)),
    )
    return figure(ask, Query(f"sum({newest(WORKERS, state='stalled')})"), words={"0": "none"})


def _busy() -> Panel:
    ask = Ask(
        title="How busy are the workers?",
        shows="Of the workers that take jobs, the share that was busy, the mean of the last 15 minutes.",
        good="below 80 %: above it waits grow steeply.",
        otherwise="add workers; the guides to docker and Kubernetes say how, and how many.",
        empty="No worker has taken jobs in the last 15 minutes",
        unit="percentunit",
        width=5,
        height=5,
        decimals=0,
        steps=((None, GOOD), (0.8, WATCH), (0.95, BAD)),
    )
    share = ratio(f"sum({newest(WORKERS, state='busy')})", f"sum({newest(WORKERS, state='idle|busy')})")
    return figure(ask, Query(f"avg_over_time(({share})[15m:15s])"))


def _queues() -> Panel:
    ask = Ask(
        title="Is the queue growing?",
        shows="Jobs by queue (task and priority) that wait, and all that run, stacked.",
        good="waiting jobs come and go; running ones are as many as workers at most.",
        otherwise="a steady climb means more work than workers: add some, or refuse earlier (VDMINI_MAX_ACTIVE_JOBS).",
        empty="The API said nothing in this time: was it up, and did it reach Redis?",
        unit="none",
        decimals=0,
    )
    waiting = f"{newest(QUEUE_JOBS, state='waiting', queue=OF_TASK)}"
    running = f"sum({newest(QUEUE_JOBS, state='running', queue=OF_TASK)})"
    return trend(
        ask, Query(waiting, "waiting: {{queue}}"), Query(running, "running", "#73BF69"), stacked=True, colors={}
    )


def _waits() -> Panel:
    ask = Ask(
        title="How long do jobs wait for their start?",
        shows="Seconds from acceptance to the start, half of the jobs (p50) and all but one in twenty (p95), by task. "
        "The red line is the minute within which 95 % are promised to start.",
        good="p95 below the line.",
        otherwise="add workers, or give urgent requests `priority`.",
        runbooks=("WaitBudgetBurn",),
        empty="No job was finished in this time: send one, or choose a longer time",
        unit="s",
        steps=((None, GOOD), (60.0, BAD)),
    )
    return trend(
        ask,
        Query(quantile(0.5, QUEUE_WAIT, "task", "variant", by=("task",)), "p50 · {{task}}"),
        Query(quantile(0.95, QUEUE_WAIT, "task", "variant", by=("task",)), "p95 · {{task}}"),
        line_at=True,
    )


def _workers() -> Panel:
    ask = Ask(
        title="What are the workers doing?",
        shows="Workers that give signs of life, by what they do, stacked.",
        good="green and blue, and a steady sum; some green left at the busiest time.",
        otherwise="loading again and again: a worker dies and comes back, read its log. Red:.",
        runbooks=("WorkerNotConsuming",),
        empty="The API said nothing in this time: was it up, and did it reach Redis?",
        unit="none",
        decimals=0,
    )
    return trend(ask, Query(newest(WORKERS), "{{state}}"), stacked=True, colors=STATES)


def _throughput() -> Panel:
    ask = Ask(
        title="How many clips are made?",
        shows="Succeeded jobs a minute. Blue: the compressed model was asked for. Orange: the uncompressed one.",
        good="it follows what is asked for, and the queue beside does not grow.",
        otherwise="a drop with jobs waiting: look at the workers, and at the outcomes in the dashboard Errors and "
        "limits.",
        empty="No model was loaded in this time",
        unit="suffix:/min",
    )
    lines = [
        Query(
            f"60 * {rate(JOBS, 'task', 'variant', by=('variant',), outcome='succeeded', variant=variant)}",
            name,
            VARIANTS[name],
        )
        for name, variant in (("compressed", "vdmini"), ("uncompressed", "teacher"))
    ]
    return trend(ask, *lines, stacked=True)


def _models() -> Panel:
    ask = Ask(
        title="Which models are loaded?",
        shows="Each model that a worker offers, and the uncompressed one that it is compared with.",
        good="every compressed model has its uncompressed one beside it: without it there is no baseline.",
        otherwise="missing ones were refused or put away: /readyz says why.",
        empty="No model is loaded: no worker is up, or it refused all artifacts; /readyz says why",
        unit="none",
        height=7,
    )
    columns = (
        Column("name", "Model"),
        Column("task", "Task"),
        Column("variant", "Variant"),
        Column("teacher", "Teacher"),
    )
    return grid(ask, Query(newest(MODEL_INFO, "task", "variant")), columns=columns)


def _memory() -> Panel:
    ask = Ask(
        title="How much GPU memory do clips need?",
        shows="Most memory that was held while a model made a clip, since its worker's child started, by model and "
        "device.",
        good="clearly below what the GPU has.",
        otherwise="near the limit jobs fail with out-of-memory: lower VDMINI_MAX_MODEL_BYTES so that fewer models stay "
        "loaded, or the largest size.",
        empty="Nothing was measured: workers run on CPUs, or have made no clip yet",
        unit="bytes",
        height=7,
    )
    return trend(ask, Query(newest(GPU_MEMORY_PEAK), "{{model}} · {{device}}"))
