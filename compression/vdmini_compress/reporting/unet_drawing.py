"""A picture of a U-Net as SVG: its stages on the way down and up, a box for every pair, removed ones in grey."""

import html
from collections.abc import Iterable, Mapping
from typing import Any

from vdmini.plan import PruningPlan, layers_of

BOX_WIDTH, BOX_HEIGHT, GAP = 92, 26, 8
STAGE_GAP, INDENT, COLUMN = 22, 34, 420
KEPT, SAMPLER, GONE = "#2563eb", "#0e7490", "#e2e8f0"


class _Drawing:
    def __init__(self, plan: PruningPlan) -> None:
        self.plan, self.parts, self.right, self.bottom = plan, list[str](), 0, 0

    def box(self, x: int, y: int, name: str, label: str, colour: str = KEPT) -> None:
        gone = self.plan.removes(name)
        fill, ink = (GONE, "#94a3b8") if gone else (colour, "#ffffff")
        edge = ' stroke="#94a3b8" stroke-dasharray="4 3"' if gone else ""
        line = ' text-decoration="line-through"' if gone else ""
        title = html.escape(name) + (": removed" if gone else "")
        self.parts.append(
            f"<g><title>{title}</title>"
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" fill="{fill}"{edge}/>'
            f'<text x="{x + BOX_WIDTH // 2}" y="{y + BOX_HEIGHT // 2 + 5}" fill="{ink}" text-anchor="middle"{line}>'
            f"{html.escape(label)}</text></g>"
        )
        self.right, self.bottom = max(self.right, x + BOX_WIDTH), max(self.bottom, y + BOX_HEIGHT)

    def text(self, x: int, y: int, words: str) -> None:
        self.parts.append(f'<text x="{x}" y="{y}" fill="#475569">{html.escape(words)}</text>')

    def svg(self, label: str) -> str:
        width, height = self.right + 10, self.bottom + 10
        head = (
            f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px;width:100%" role="img" '
            f'aria-label="{html.escape(label)}" font-family="system-ui,sans-serif" font-size="13">'
        )
        return f"{head}{''.join(self.parts)}</svg>"


def draw(config: Mapping[str, Any], removed: Iterable[str]) -> str:
    """The picture as an `<svg>` element.

    Args:
        config: the teacher's U-Net.
        removed: the blocks that a plan removes.
    """
    plan, layers = PruningPlan.of(removed), layers_of(config)
    drawing, stages = _Drawing(plan), len(layers)
    drawing.text(0, 14, "down: from the noisy clip")
    drawing.text(COLUMN, 14, "up: to the clean clip")
    y = 26
    for level in range(stages):
        up, shift = stages - 1 - level, INDENT * (stages - 1 - level)
        below = _stage(drawing, INDENT * level, y, f"down_blocks.{level}", layers[level], resampled=level < stages - 1)
        above = _stage(drawing, COLUMN + shift, y, f"up_blocks.{up}", layers[level] + 1, resampled=level > 0)
        y = max(below, above) + STAGE_GAP
    drawing.box((COLUMN + INDENT * stages) // 2, y - STAGE_GAP // 2, "mid_block", "Mid")
    return drawing.svg(f"The U-Net with {len(plan.removed)} removed blocks in grey")


def _stage(drawing: _Drawing, x: int, y: int, name: str, pairs: int, *, resampled: bool) -> int:
    """One stage's pairs side by side, with what resamples after them; returns where it ends."""
    side, _, index = name.partition("_blocks.")
    for j in range(pairs):
        label = f"{side[0].upper()}{index} pair {j}"
        drawing.box(x + j * (BOX_WIDTH + GAP), y, f"{name}.resnets.{j}", label)
    if not resampled:
        return y + BOX_HEIGHT
    drawing.box(x, y + BOX_HEIGHT + GAP, f"{name}.{side}samplers.0", side, SAMPLER)
    return y + 2 * BOX_HEIGHT + GAP
