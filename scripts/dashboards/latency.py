"""How fast are we, and against what? Only like is compared with like, and each panel's description says what is."""

from board import Board, Section, Variable
from panels import (
    BAD,
    GOOD,
    STUDENT,
    TEACHER,
    TIMES,
    WATCH,
    Ask,
    Column,
    Line,
    Panel,
    Query,
    figure,
    grid,
    pairs,
    trend,
)
from promql import NOW, newest, quantile, recorded, select

from vdmini_serve.contract.metrics import (
    BASELINE,
    BASELINE_AT,
    JOB_LATENCY,
    MODEL_INFO,
    RECEIPT_SPEEDUP,
    SHADOW_SPEEDUP,
    SPEEDUP,
    SPEEDUP_AT,
    STAGE,
)

WORK = ("task", "size", "steps")
KIND = "{{model}} · {{size}} · steps {{steps}}"
FASTER = ((None, BAD), (1.0, WATCH), (1.1, GOOD))
TYPICAL_AND_TAIL: tuple[tuple[float, Line], ...] = ((0.5, "solid"), (0.95, "dot"))
KEPT = ((None, BAD), (0.8, WATCH), (0.95, GOOD))
STAGES = {"encode": "#B877D9", "denoise": "#73BF69", "decode": "#5794F2", "mp4": "#FADE2A", "discarded": "#F2495C"}

_RECENT = f"(time() - {newest(SPEEDUP_AT, 'model', *WORK)} < 7 * 86400)"
MEASURED = f"({newest(SPEEDUP, 'model', *WORK)} and {_RECENT})"
"""What an exchanged device measured once stays on record; after a week it says nothing of today."""
TEACHER_SECONDS = f"{newest(BASELINE, *WORK)} * ignoring (model) group_right () ({MEASURED} ^ 0)"
STUDENT_SECONDS = f"{newest(BASELINE, *WORK)} / ignoring (model) group_right () {MEASURED}"
PROMISED = newest(RECEIPT_SPEEDUP, "model", *WORK, by=("model", *WORK))


def board() -> Board:
    """The dashboard."""
    return Board(
        uid="vdmini-latency",
        title="Latency against the uncompressed baseline",
        description="How fast are we, and against what? Blue is the compressed model, orange the uncompressed one.",
        variables=_variables(),
        sections=(
            Section("How fast are we, and against what?", (_speedup(), _clip_seconds(), _receipt(), _age())),
            Section("What do clients get?", (_served(),)),
            Section("Where does the speed-up hold?", (_by_kind(), _over_time(), _paired())),
            Section("Where does the time go?", (_stages("vdmini"), _stages("teacher"))),
        ),
    )


def _variables() -> tuple[Variable, ...]:
    """Sizes and steps come from what was measured, too, so that none is empty before the first job."""
    either = f'{{__name__=~"{JOB_LATENCY.name}_count|{BASELINE.name}", task=~"$task"}}'
    students = select(MODEL_INFO, "task", variant="vdmini")
    return (
        Variable("task", "Task", f"label_values({MODEL_INFO.name}, task)", "Image to video or text to video."),
        Variable("model", "Compressed model", f"label_values({students}, name)", "Filters speed-ups and receipts."),
        Variable(
            "variant", "Variant", f"label_values({MODEL_INFO.name}, variant)", "Filters what clients were served."
        ),
        Variable("size", "Size", f"label_values({either}, size)", "Width x height x frames."),
        Variable("steps", "Steps", f"label_values({either}, steps)", "Denoising steps."),
    )


def _speedup() -> Panel:
    ask = Ask(
        title="How much faster is the compressed model?",
        shows="Median engine seconds of the uncompressed model over those of the compressed one: encode, denoise and "
        "decode, both measured on the same device, at the same size, steps and guidance. Of all that is selected, the "
        "slowest is shown: each model is at least this fast.",
        good="above 1.1, and near what the model's receipt promises.",
        otherwise="below 1 compression is of no use: the table below says at which size and steps.",
        runbooks=("CompressedSlowerThanBaseline",),
        empty="No pair of compressed and uncompressed model was measured in the last 7 days: load both, and send a job",
        unit=TIMES,
        width=5,
        height=9,
        decimals=2,
        steps=FASTER,
    )
    return figure(ask, Query(f"min by (model) ({MEASURED})", "{{model}}"), show_names=True)


def _clip_seconds() -> Panel:
    ask = Ask(
        title="How long does the engine take for one clip, with and without compression?",
        shows="Median engine seconds (encode, denoise, decode) of the same work on the same device. Orange: the "
        "uncompressed baseline. Blue: the compressed model. Queueing and the MP4 are the same for both and left out.",
        good="each blue bar is clearly shorter than the orange one of the same size and steps.",
        otherwise="choose one size above, then look at the stages below: the longer bar of a stage is where to look.",
        empty="No pair of compressed and uncompressed model was measured in the last 7 days: load both, and send a job",
        unit="s",
        width=10,
        height=9,
        steps=((None, STUDENT),),
    )
    return pairs(
        ask,
        Query(_by_work(TEACHER_SECONDS), "uncompressed", TEACHER),
        Query(_by_work(STUDENT_SECONDS), "compressed", STUDENT),
        by="work",
    )


def _by_work(seconds: str) -> str:
    """One number for each task, size and steps, which become one label: a bar chart names its bars by one field."""
    return f'max by (work) (label_join({seconds}, "work", " · ", "task", "size", "steps"))'


def _receipt() -> Panel:
    ask = Ask(
        title="Is the promise of its receipt kept?",
        shows="The speed-up measured here over the one in the model's receipt (vdmini.json), the slowest of what is "
        "selected. A receipt was measured on the device of whoever made the model; the table below shows both.",
        good="95 % and more.",
        otherwise="another device than the receipt's explains a part. On the same device, look for other work on it, "
        "and compare the runtime's switches (VDMINI_RUNTIME) with the receipt's.",
        empty="The receipts say nothing of the sizes and steps that were measured here",
        unit="percentunit",
        width=5,
        height=9,
        decimals=0,
        steps=KEPT,
    )
    kept = recorded("task_model_size_steps:vdmini_speedup_of_receipt:ratio", "model", *WORK)
    return figure(ask, Query(f"min by (model) ({kept})", "{{model}}"), show_names=True)


def _age() -> Panel:
    ask = Ask(
        title="How old is the baseline?",
        shows="Time since the uncompressed model last ran, of the comparisons above the oldest. It runs when a worker "
        "starts, when clients ask for it, and in re-runs of finished jobs while a worker idles.",
        good="below a day.",
        otherwise="raise VDMINI_SHADOW_SHARE, or give workers time to idle.",
        runbooks=("BaselineStale",),
        empty="No baseline was measured: no worker has loaded an uncompressed model",
        unit="s",
        width=4,
        height=9,
        decimals=0,
        steps=((None, GOOD), (86400.0, WATCH), (172800.0, BAD)),
    )
    since = f"time() - {newest(BASELINE_AT, *WORK)}"
    return figure(ask, Query(f"max by (task) ({since} and ignoring (model) {MEASURED})", "{{task}}"), show_names=True)


def _served() -> Panel:
    ask = Ask(
        title="How long do $task jobs take, beside the uncompressed baseline?",
        shows="Seconds from a worker's start to the finished MP4, half of the jobs (p50) and all but one in twenty "
        "(p95, dotted). Orange lines: jobs of clients who asked for the uncompressed model. Dashed: its baseline, "
        "which is without the MP4, so the comparison is to the compressed model's disadvantage.",
        good="blue lines stay below the dashed one of their size and steps.",
        otherwise="p95 far above p50: choose one size above, and see whether it is one kind of work. All lines up: "
        "look at the stages below and at other work on the device.",
        empty="No job was finished in this time: send one, or choose a longer time",
        unit="s",
        width=24,
        height=10,
        repeat="task",
    )
    by = ("size", "steps")
    lines = []
    for name, variant, color in (
        ("compressed", "vdmini", STUDENT),
        ("uncompressed", "teacher", TEACHER),
    ):
        for share, line in TYPICAL_AND_TAIL:
            expr = quantile(share, JOB_LATENCY, "variant", *WORK, by=by, variant=variant)
            lines.append(Query(expr, f"{name} p{share * 100:.0f} · {{{{size}}}} · steps {{{{steps}}}}", color, line))
    baseline = newest(BASELINE, *WORK, by=("size", "steps", "device"))
    lines.append(Query(baseline, "baseline · {{size}} · steps {{steps}} · {{device}}", TEACHER, line="dash"))
    return trend(ask, *lines)


def _by_kind() -> Panel:
    ask = Ask(
        title="How does the speed-up depend on model, size and steps?",
        shows="One line for each kind of work that was measured here in the last 7 days: median engine seconds of "
        "both models, their ratio, and the ratio that the receipt promises.",
        good="green throughout.",
        otherwise="red lines are slower than without compression: do not serve that size with that model, or make a "
        "model for it.",
        runbooks=("CompressedSlowerThanBaseline",),
        empty="No pair of compressed and uncompressed model was measured in the last 7 days: load both, and send a job",
        unit="none",
        width=24,
        decimals=2,
    )
    labels = ", ".join(SPEEDUP.labels)
    promised = f"({MEASURED} ^ 0) * on (model, task, size, steps) group_left () {PROMISED}"
    return grid(
        ask,
        Query(f"max by ({labels}) ({TEACHER_SECONDS})"),
        Query(f"max by ({labels}) ({STUDENT_SECONDS})"),
        Query(f"max by ({labels}) ({MEASURED})"),
        Query(f"max by ({labels}) ({promised})"),
        columns=(
            Column("task", "Task"),
            Column("model", "Model"),
            Column("size", "Size"),
            Column("steps", "Steps"),
            Column("guidance", "Guidance"),
            Column("device", "Device"),
            Column("teacher", "Teacher"),
            Column("Value #A", "Uncompressed", "s"),
            Column("Value #B", "Compressed", "s"),
            Column("Value #C", "Speed-up", TIMES, FASTER),
            Column("Value #D", "Promised", TIMES),
        ),
    )


def _over_time() -> Panel:
    ask = Ask(
        title="Does the speed-up hold over time?",
        shows="The measured speed-up of each model, size and steps, on its slowest device; dashed, what its receipt "
        "promises. Each is a median of the last 50 runs at most, so it follows a change slowly.",
        good="level lines at or above the dashed ones, never below the red line at 1.",
        otherwise="a step down: see what was installed or started at that time. Drifting down: other work on the "
        "device.",
        empty="No pair of compressed and uncompressed model was measured in this time",
        unit=TIMES,
        decimals=2,
        steps=((None, BAD), (1.0, GOOD)),
    )
    measured = f"min by (model, size, steps) ({MEASURED})"
    promised = f"max by (model, size, steps) ({PROMISED} and on (model, task, size, steps) {MEASURED})"
    return trend(ask, Query(measured, KIND), Query(promised, f"promised: {KIND}", "#808080", line="dash"), line_at=True)


def _paired() -> Panel:
    ask = Ask(
        title="Is one and the same job faster than on the uncompressed model?",
        shows="Re-runs of served jobs on the uncompressed model: its engine seconds over those of that very job. Half "
        "of the jobs are at least this much faster (p50), and nine out of ten (dotted).",
        good="both above 1, and near the speed-up of the medians.",
        otherwise="far below the medians' speed-up: served jobs share the device with something, re-runs do not.",
        empty="No job was run again in this time: VDMINI_SHADOW_SHARE is 0, workers never idle, or no job came",
        unit=TIMES,
        decimals=2,
        steps=((None, BAD), (1.0, GOOD)),
    )
    half = quantile(0.5, SHADOW_SPEEDUP, "task", "model", by=("model",), window="1h")
    most = quantile(0.1, SHADOW_SPEEDUP, "task", "model", by=("model",), window="1h")
    return trend(
        ask,
        Query(half, "half of the jobs · {{model}}", STUDENT),
        Query(most, "nine of ten jobs · {{model}}", STUDENT, "dot"),
        line_at=True,
    )


def _stages(variant: str) -> Panel:
    name = {"vdmini": "compressed", "teacher": "uncompressed"}[variant]
    when = {
        "vdmini": "No job of a compressed model was finished in this time: send one, or choose a longer time",
        "teacher": "Nobody asked for the uncompressed model in this time: send a job with variant=teacher to see its "
        "stages",
    }[variant]
    ask = Ask(
        title=f"Where does the time of a job on the {name} model go?",
        shows="Mean seconds of each stage for one finished MP4. `discarded` is what a clip took that failed the check, "
        "before the uncompressed model made it again. The task above should be one, since stages of tasks differ.",
        good="the parts stay what they are; denoise and decode are smaller than beside.",
        otherwise="a growing mp4 means too few CPU cores, growing encode a changed text or image encoder; discarded "
        "time: see the dashboard Quality drift.",
        empty=when,
        unit="s",
    )
    seconds = select(STAGE, "task", "variant", part="sum", variant=variant)
    clips = select(STAGE, "task", "variant", part="count", variant=variant, stage="mp4")
    mean = f"sum by (stage) (rate({seconds}[{NOW}])) / on () group_left () (sum(rate({clips}[{NOW}])) > 0)"
    return trend(ask, Query(mean, "{{stage}}"), stacked=True, as_bars=True, colors=STAGES)
