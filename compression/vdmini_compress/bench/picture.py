"""The picture of a bench: a stacked bar by stage for every contender."""

from collections.abc import Mapping
from pathlib import Path

from vdmini.engine import STAGES
from vdmini_compress.bench.contenders import STOCK, STUDENT, STUDENT_UNET, TEACHER
from vdmini_compress.bench.measure import TOTAL, Measured

COLOURS = {"encode": "#b8b8b8", "denoise": "#3b6fb6", "decode": "#e08a2e"}
LABELS = {
    STOCK: "plain diffusers, teacher",
    TEACHER: "our engine, teacher",
    STUDENT: "our engine, VDMini",
    STUDENT_UNET: "our engine, VDMini,\nteacher's decoder",
}
SHORT = {STOCK: "plain diffusers", TEACHER: "teacher"}


def draw(found: Mapping[str, Measured], title: str, path: Path) -> None:
    """Write a PNG.

    Args:
        found: contender -> its measures.
        title: what was made, where.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.75 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(found)[::-1]
    left = dict.fromkeys(names, 0.0)
    for stage in STAGES:
        widths = [1000 * found[name].seconds[stage].median for name in names]
        axes.barh(names, widths, left=[left[name] for name in names], color=COLOURS[stage], label=stage)
        for name, width in zip(names, widths, strict=True):
            left[name] += width
    for name in names:
        axes.annotate(f" {_caption(name, found[name])}", (left[name], name), va="center", fontsize=9)
    axes.set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
    axes.set_xlim(0, 1.6 * max(left.values()))
    axes.set(xlabel="milliseconds from input to frames (median)", title=title)
    figure.legend(loc="outside lower center", ncols=len(STAGES), fontsize=9)
    figure.savefig(path, dpi=110)


def _caption(name: str, one: Measured) -> str:
    total = f"{1000 * one.seconds[TOTAL].median:.0f} ms"
    ratios = [f"{ratio.median:.2f}x {SHORT[other]}" for other, ratio in one.against.items() if other != name]
    return ", ".join([total, *ratios])
