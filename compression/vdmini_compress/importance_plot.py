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

Lost = Callable[[BlockImportance], float]


def draw(report: ImportanceReport, path: Path) -> None:
    """Write a PNG with a panel for content, motion and, where it was measured, FVD.

    Each shows what is lost against milliseconds saved, coloured by depth.
    """
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

    measures = _measures(report)
    figure = Figure(figsize=(6.5 * len(measures), 6.2), layout="constrained")
    panels = figure.subplots(1, len(measures))
    for axes, (title, label, lost) in zip(panels, measures, strict=True):
        points = _panel(axes, report, lost)
        axes.set(title=title, xlabel="milliseconds saved per U-Net pass", ylabel=label)
    bar = figure.colorbar(points, ax=panels, shrink=0.8)
    bar.set_label("depth: 0 is the outermost stage")
    bar.set_ticks(range(report.stages))
    clips = f"{report.clips} clips of {report.data}, no healing"
    figure.suptitle(f"{report.teacher.id}: what is lost when one block is switched off ({clips})")
    return figure


def _measures(report: ImportanceReport) -> list[tuple[str, str, Lost]]:
    """Title, label and value of each panel."""
    measures: list[tuple[str, str, Lost]] = [
        ("Content: does each frame still look right?", f"added {report.content.label}", lambda b: b.content_lost),
        ("Motion: does it still move right?", f"added {report.motion.label}", lambda b: b.motion_lost),
    ]
    if report.fvd is not None:
        measures.append(("Both: FVD", "added Fréchet video distance", lambda b: b.fvd_lost or 0.0))
    return measures


def depth_of(block: BlockImportance, innermost: int) -> int:
    """How many times the picture was halved where a block runs, 0 to `innermost`, where the middle is."""
    side, _, rest = block.name.partition(".")
    if side == "mid_block":
        return innermost
    index = int(rest.split(".")[0])
    return index if side == "down_blocks" else innermost - index


def _panel(axes: Any, report: ImportanceReport, lost: Lost) -> Any:
    points = None
    for kind, marker in MARKERS.items():
        blocks = [block for block in report.blocks if block.kind == kind]
        points = axes.scatter(
            [1000 * block.seconds_saved for block in blocks],
            [lost(block) for block in blocks],
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
    for block in sorted(report.blocks, key=lost, reverse=True)[:LABELLED]:
        place = (1000 * block.seconds_saved, lost(block))
        axes.annotate(block.label, place, xytext=(7, 4), textcoords="offset points", fontsize=9)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.legend(loc="best", fontsize=8)
    return points
