"""What a bench found, as data and as a table."""

from typing import Any

from pydantic import Field
from rich import box
from rich.table import Table

from vdmini.engine import STAGES
from vdmini.manifest import Record
from vdmini_compress.bench.measure import TOTAL, Measured
from vdmini_compress.bench.scaling import Point
from vdmini_compress.bench.switches import SwitchWorth


class BenchReport(Record):
    """All numbers of one run, with what is needed to judge them."""

    teacher: str
    student: str
    removed_blocks: tuple[str, ...]
    device: str
    dtype: str
    versions: dict[str, str]
    runtime: dict[str, Any] = Field(description="our engine's switches that are on")
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    runs: int
    matmul_flops_per_second: float = Field(description="of a large matrix product, in the same process")
    contenders: dict[str, Measured]
    switches: tuple[SwitchWorth, ...] = ()
    scaling: dict[str, tuple[Point, ...]] = Field(default_factory=dict, description="contender -> points")
    measured_at: str


def table_of(report: BenchReport) -> Table:
    """The comparison, a row for every contender."""
    made = f"{report.num_frames} frames of {report.width}x{report.height}, {report.num_inference_steps} step(s)"
    stages = " + ".join(STAGES)
    table = Table(
        title=f"{made} on {report.device}, {report.dtype}, {report.runs} rounds in turn; {stages}", box=box.SIMPLE
    )
    table.add_column("", overflow="fold")
    for heading in ("by stage, ms", "total", "x teacher", "x stock", "MiB", "of matmul"):
        table.add_column(heading, justify="right")
    for name, one in report.contenders.items():
        table.add_row(
            name,
            " ".join(f"{1000 * one.seconds[stage].median:.0f}" for stage in STAGES),
            f"{1000 * one.seconds[TOTAL].median:.0f}",
            _ratio(one, "teacher"),
            f"{one.against['stock'].median:.2f}" if "stock" in one.against else "",
            "?" if one.peak_bytes is None else f"{one.peak_bytes / 2**20:.0f}",
            f"{100 * one.matmul_share['denoise + decode']:.0f} %",
        )
    return table


def _ratio(one: Measured, other: str) -> str:
    if other not in one.against:
        return ""
    ratio = one.against[other]
    return f"{ratio.median:.2f} ({ratio.interval[0]:.2f}-{ratio.interval[1]:.2f})"


def _on(one: SwitchWorth) -> str:
    names = {name: name.replace("_", " ") for name in one.runtime}
    return ", ".join(names[key] if value is True else f"{names[key]} {value}" for key, value in one.runtime.items())


def switch_table(report: BenchReport) -> Table:
    """What each switch is worth."""
    table = Table(title="switches of the runtime, alone, against plain diffusers", box=box.SIMPLE)
    table.add_column("on", overflow="fold")
    for heading in ("denoise", "decode", "total", "dB alike", "first clip, s"):
        table.add_column(heading, justify="right")
    for one in report.switches:
        table.add_row(
            _on(one),
            *(f"{one.speedup[stage].median:.2f}" for stage in ("denoise", "decode")),
            _interval(one, TOTAL),
            f"{one.likeness_db:.1f}",
            f"{one.first_seconds:.1f}",
        )
    return table


def _interval(one: SwitchWorth, stage: str) -> str:
    ratio = one.speedup[stage]
    return f"{ratio.median:.2f} ({ratio.interval[0]:.2f}-{ratio.interval[1]:.2f})"
