"""Curves of a training as one SVG: a small panel for each number that its log holds."""

import io
import json
from pathlib import Path
from typing import Any

TITLES = {
    "task": "task loss",
    "output": "distance to the teacher's output",
    "icd": "content: feature distance (ICD)",
    "mca": "motion: adversarial loss (MCA)",
    "discriminator": "discriminator's loss",
    "r1": "discriminator's penalty",
    "sample_psnr_db": "samples: PSNR to the teacher's, dB",
    "sample_motion": "samples: motion, share of the teacher's",
    "sample_flicker": "samples: flicker, share of the teacher's",
}
COLUMNS = 3


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a `log.jsonl`, none without a file; of a step that a resumed run logged twice, the last."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def draw(rows: list[dict[str, float]]) -> str:
    """The curves as an `<svg>` element, or nothing where fewer than two rows were logged."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name in TITLES]
    if len(rows) < 2 or not names:
        return ""
    lines = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(11, 2.3 * lines), layout="constrained")
    FigureCanvasSVG(figure)
    panels: Any = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    for axes, name in zip(panels, names, strict=False):
        known = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot([step for step, _ in known], [value for _, value in known], color="#2563eb", linewidth=1.5)
        axes.set_title(TITLES[name], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(names) - COLUMNS) : len(names)]:
        axes.set_xlabel("step", fontsize=8)
    return svg_of(figure)


def svg_of(figure: Any) -> str:
    """A figure as an `<svg>` element for a page, without what only a file of its own needs."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()
    return text[text.index("<svg") :]
