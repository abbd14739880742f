"""The picture of `vdmini_compress.importance`: what each block costs in time and what it is worth, at a glance."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vdmini_compress.importance import BlockImportance, ImportanceReport
from vdmini_compress.reporting.curves import svg_of

MARKERS = {"pair": "o", "temporal": "^", "middle": "s", "stage": "D"}
KINDS = {
    "pair": "a ResBlock and its attention (R-A pair)",
    "temporal": "a stage's temporal part",
    "middle": "the middle",
    "stage": "the innermost stage with the middle",
}
LABELLED = 8
"""Blocks with a name beside their mark in each panel, the costliest to lose first; all names would cover each other."""

Measure = Callable[[BlockImportance], float]


def draw(report: ImportanceReport, path: Path) -> None:
    """Write a PNG with two panels, content and motion: quality lost against milliseconds saved, colour by depth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure(report)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)


def as_svg(report: ImportanceReport) -> str:
    """The same picture as an `<svg>` element."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure = _figure(report)
    FigureCanvasSVG(figure)
    return svg_of(figure)


def _figure(report: ImportanceReport) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.2), layout="constrained")
    panels = figure.subplots(1, 2)
    measures: tuple[tuple[str, str, Measure], ...] = (
        ("Content: does each frame still look right?", "appearance error added", lambda block: block.content_lost),
        ("Motion: is it still in the right place?", "trajectory error added (pixels)", lambda block: block.motion_lost),
    )
    for axes, (title, label, measure) in zip(panels, measures, strict=True):
        points = _panel(axes, report, measure)
        axes.set(title=title, xlabel="milliseconds saved per U-Net pass", ylabel=label)
    bar = figure.colorbar(points, ax=panels, shrink=0.8)
    bar.set_label("depth: 0 is the outermost stage")
    bar.set_ticks(range(report.stages))
    figure.suptitle(
        f"{report.teacher.id}: what is lost when one block is switched off ({report.clips} held-out clips, no healing)"
    )
    return figure


def depth_of(block: BlockImportance, innermost: int) -> int:
    """How many times the picture was halved where a block runs, 0 to `innermost`, where the middle is."""
    side, _, rest = block.name.partition(".")
    if side == "mid_block":
        return innermost
    index = int(rest.split(".")[0])
    return index if side == "down_blocks" else innermost - index


def _panel(axes: Any, report: ImportanceReport, measure: Measure) -> Any:
    points = None
    for kind, marker in MARKERS.items():
        blocks = [block for block in report.blocks if block.kind == kind]
        points = axes.scatter(
            [1000 * block.seconds_saved for block in blocks],
            [measure(block) for block in blocks],
            c=[depth_of(block, report.stages - 1) for block in blocks],
            cmap="viridis_r",
            vmin=0,
            vmax=report.stages - 1,
            marker=marker,
            s=70,
            edgecolors="black",
            linewidths=0.6,
            label=KINDS[kind],
        )
    for block in sorted(report.blocks, key=measure, reverse=True)[:LABELLED]:
        place = (1000 * block.seconds_saved, measure(block))
        axes.annotate(block.label, place, xytext=(7, 4), textcoords="offset points", fontsize=9)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.legend(loc="best", fontsize=8)
    return points
