"""Quality drift: do clips of the compressed model still look like those of the uncompressed one."""

from dataclasses import dataclass

from board import Board, Section, Variable
from panels import BAD, GOOD, TIMES, WATCH, Ask, Panel, Query, figure, trend
from promql import WHOLE, increase, newest, quantile, ratio, select

from vdmini_serve.contract.metrics import (
    ESCALATIONS,
    JOBS,
    MODEL_INFO,
    PREFERENCE,
    PREFERENCE_HIGH,
    PREFERENCE_LOW,
    SHADOW_DRIFT,
    SHADOW_RUNS,
    VOTES,
)


@dataclass(frozen=True)
class Measure:
    """One way to compare a clip with the uncompressed model's of the same input and seed."""

    metric: str
    typical: str
    course: str
    shows: str
    good: str
    unit: str
    decimals: int
    steps: tuple[tuple[float | None, str], ...]


SSIM = Measure(
    metric="ssim",
    typical="How alike are the pictures?",
    course="Do the pictures stay as alike as they were?",
    shows="Structural similarity, 1 where the clips are equal",
    good="near what it was when the model was installed. A small or few-step model invents other details than its "
    "teacher, and may be lower from the first day without being worse.",
    unit="none",
    decimals=2,
    steps=((None, BAD), (0.5, WATCH), (0.8, GOOD)),
)
PSNR = Measure(
    metric="psnr",
    typical="How small is the difference?",
    course="Does the difference stay as small as it was?",
    shows="Peak signal-to-noise ratio in dB, 60 where the clips are equal; more is closer",
    good="near what it was when the model was installed.",
    unit="dB",
    decimals=1,
    steps=((None, BAD), (15.0, WATCH), (20.0, GOOD)),
)
MOTION = Measure(
    metric="motion",
    typical="Does it move as much?",
    course="Does it go on moving as much?",
    shows="Mean change from frame to frame over the uncompressed model's",
    good="near 1: it moves as much. Far below, clips stand still; far above, they flicker.",
    unit=TIMES,
    decimals=2,
    steps=((None, BAD), (0.5, WATCH), (0.8, GOOD), (1.25, WATCH), (2.0, BAD)),
)
COMPARED = (
    "Re-runs of finished jobs on the uncompressed model, same input and seed; VDMINI_SHADOW_SHARE is their share."
)
WATCHED = "Compare with the day when the model was installed, and look at clips."
NO_VOTE = "Nobody has voted yet: the page /compare shows two clips and asks which is better"
NO_RE_RUN = "No job was run again: VDMINI_SHADOW_SHARE is 0, workers never idle, or no job of a compressed model came"
REASONS = {"not_finite": "#F2495C", "one_colour": "#FF9830", "still": "#5794F2", "flicker": "#B877D9"}
OUTCOMES = {"compared": "#73BF69", "preempted": "#808080"}
LONG = "6h"
"""Re-runs are few: a window of minutes would hold one or none."""


def board() -> Board:
    """The dashboard."""
    students = select(MODEL_INFO, "task", variant="vdmini")
    measures = (SSIM, PSNR, MOTION)
    return Board(
        uid="vdmini-quality",
        title="Quality drift",
        description="Do clips of the compressed model still look like those of the uncompressed one?",
        variables=(
            Variable("task", "Task", f"label_values({MODEL_INFO.name}, task)", "Image to video or text to video."),
            Variable("model", "Compressed model", f"label_values({students}, name)", "Filters all that is compared."),
        ),
        sections=(
            Section("Do its clips look like the uncompressed model's?", (*map(_typical, measures), _number())),
            Section("Does that change?", (*map(_course, measures), _runs())),
            Section("Are clips broken?", (_escalated(), _broken())),
            Section("What do people say?", (_preferred(), _votes())),
        ),
    )


def _typical(measure: Measure) -> Panel:
    ask = Ask(
        title=measure.typical,
        shows=f"{measure.shows}: the median of all re-runs in the time above. {COMPARED}",
        good=measure.good,
        otherwise=WATCHED,
        runbooks=("QualityDrift",),
        empty=NO_RE_RUN,
        unit=measure.unit,
        width=6,
        height=6,
        decimals=measure.decimals,
        steps=measure.steps,
    )
    median = quantile(0.5, SHADOW_DRIFT, "task", "model", by=("model",), window=WHOLE, metric=measure.metric)
    return figure(ask, Query(median, "{{model}}"), show_names=True)


def _number() -> Panel:
    ask = Ask(
        title="How many jobs were compared?",
        shows=f"Jobs behind the numbers beside. {COMPARED}",
        good="10 and more: a median of fewer says little.",
        otherwise="choose a longer time, or raise VDMINI_SHADOW_SHARE.",
        empty=NO_RE_RUN,
        unit="none",
        width=6,
        height=6,
        decimals=0,
        steps=((None, WATCH), (10.0, GOOD)),
    )
    compared = increase(SHADOW_RUNS, "task", "model", by=("model",), outcome="compared")
    return figure(ask, Query(f"{compared} > 0", "{{model}}"), show_names=True)


def _course(measure: Measure) -> Panel:
    ask = Ask(
        title=measure.course,
        shows=f"{measure.shows}: median and lowest tenth of the re-runs in the {LONG} before each point. {COMPARED}",
        good="level lines.",
        otherwise=f"a step: a model, driver or library was exchanged at that time. Where only the lowest tenth falls, "
        f"some inputs suffer. {WATCHED}",
        runbooks=("QualityDrift",),
        empty=NO_RE_RUN,
        unit=measure.unit,
        decimals=measure.decimals,
    )
    lines = [
        Query(
            quantile(share, SHADOW_DRIFT, "task", "model", by=("model",), window=LONG, metric=measure.metric),
            f"{name} · {{{{model}}}}",
        )
        for share, name in ((0.5, "median"), (0.1, "lowest tenth"))
    ]
    return trend(ask, *lines)


def _runs() -> Panel:
    ask = Ask(
        title="Do re-runs come to an end?",
        shows="Re-runs by what came of them, in the hour before each point: compared, or preempted by a client's job.",
        good="more compared than preempted.",
        otherwise="preempted only: workers never idle long enough. Comparisons and the baseline age; add a worker.",
        empty=NO_RE_RUN,
        unit="none",
        decimals=0,
    )
    runs = increase(SHADOW_RUNS, "task", "model", by=("outcome",), window="1h")
    return trend(ask, Query(runs, "{{outcome}}"), stacked=True, colors=OUTCOMES)


def _escalated() -> Panel:
    ask = Ask(
        title="How many clips had to be made again?",
        shows="Share of the jobs on compressed models whose clip failed the check, so that the uncompressed model "
        "made it.",
        good="below 1 %.",
        otherwise="the panel beside says why clips fail; above 5 % the model is not fit for what is asked of it.",
        empty="No job of a compressed model was finished in this time: send one, or choose a longer time",
        unit="percentunit",
        width=6,
        decimals=2,
        steps=((None, GOOD), (0.01, WATCH), (0.05, BAD)),
    )
    made = increase(JOBS, "task", by=("task",), variant="vdmini", outcome="succeeded|failed")
    share = ratio(increase(ESCALATIONS, "task", by=("task",)), made)
    return figure(ask, Query(share, "{{task}}"), show_names=True)


def _broken() -> Panel:
    ask = Ask(
        title="What is wrong with broken clips?",
        shows="Clips of compressed models that failed the check, in the hour before each point, by reason: numbers "
        "that are none, one colour, still where motion was asked for, flicker.",
        good="none.",
        otherwise="not_finite: a wrong precision, or damaged memory; the others: look at what was asked for, and at "
        "how the model does on it (quality in its report.html).",
        empty="No clip failed the check",
        unit="none",
        width=18,
        decimals=0,
    )
    return trend(
        ask,
        Query(f"{increase(ESCALATIONS, 'task', by=('reason',), window='1h')} > 0", "{{reason}}"),
        stacked=True,
        as_bars=True,
        colors=REASONS,
    )


def _preferred() -> Panel:
    ask = Ask(
        title="Which clip do people prefer, not knowing which is which?",
        shows="Share of all votes on /compare that prefer the compressed model, and the ends of its 95 % interval; no "
        "difference counts as half.",
        good="an interval that holds 50 % or lies above: as good as the uncompressed model, to the eye.",
        otherwise="below 50 % with its whole interval: look at the clips. A wide interval asks for more votes.",
        empty=NO_VOTE,
        unit="percentunit",
        width=18,
        decimals=0,
    )
    labels, name = ("model", "question"), "{{model}} · {{question}}"
    return trend(
        ask,
        Query(newest(PREFERENCE, "task", "model", by=labels), name),
        Query(newest(PREFERENCE_LOW, "task", "model", by=labels), f"at least · {name}"),
        Query(newest(PREFERENCE_HIGH, "task", "model", by=labels), f"at most · {name}"),
    )


def _votes() -> Panel:
    ask = Ask(
        title="How many votes are that?",
        shows="Answers of people since the counters began, by question.",
        good="a hundred and more; below, intervals are wide.",
        otherwise="let more people see /compare.",
        empty=NO_VOTE,
        unit="none",
        width=6,
        decimals=0,
        steps=((None, WATCH), (100.0, GOOD)),
    )
    counted = newest(VOTES, "task", "model", by=("model", "question", "preferred"))
    return figure(ask, Query(f"sum by (model, question) ({counted})", "{{model}} · {{question}}"), show_names=True)
