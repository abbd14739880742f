"""Write the drawings of docs/method.md into docs/pictures: U-Nets with what two plans remove, and a step of healing.

python scripts/method_pictures.py [--check]
"""

import argparse
import html
import json
import re
import sys
from pathlib import Path

from vdmini_compress.reporting import unet_drawing

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "pictures"
UNET = ROOT / "compression/teachers/small-t2v/unet/config.json"
PLANS = ROOT / "benchmarks/results/2026-11-26-small-t2v-plans.json"
NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, HEIGHT, MARGIN = 940, 520, 10
INK, LINE = "#1e293b", "#64748b"
DATA, FROZEN, TRAINED, LOSS = "#f1f5f9", "#dbeafe", "#bbf7d0", "#fde68a"

Box = tuple[int, int, int, int, str, str]
"""Left, top, width, height, colour, and the lines of its text, separated by "|"."""

BOXES: dict[str, Box] = {
    "clip": (10, 200, 150, 64, DATA, "clip of the cache|(latents, conditions)"),
    "noised": (190, 200, 150, 64, DATA, "the same with noise|of a drawn level"),
    "teacher": (380, 90, 180, 64, FROZEN, "teacher's U-Net|whole, frozen"),
    "student": (380, 310, 180, 64, TRAINED, "student's U-Net|blocks removed, trained"),
    "icd": (380, 200, 180, 64, LOSS, "ICD: each frame's|features, stage by stage"),
    "right": (620, 90, 130, 64, DATA, "teacher's|clean clip"),
    "made": (620, 310, 130, 64, DATA, "student's|clean clip"),
    "output": (620, 200, 130, 64, LOSS, "output loss"),
    "task": (190, 310, 150, 64, LOSS, "task loss: the base|model's own"),
    "heads": (365, 430, 195, 70, TRAINED, "teacher's encoder, frozen;|heads for frames and for|motion, trained"),
    "hinge": (620, 430, 130, 70, LOSS, "MCA: does it|look like the|teacher's?"),
    "legend data": (800, 90, 120, 30, DATA, "a clip"),
    "legend frozen": (800, 130, 120, 30, FROZEN, "frozen"),
    "legend trained": (800, 170, 120, 30, TRAINED, "learns"),
    "legend loss": (800, 210, 120, 30, LOSS, "loss"),
}
ARROWS = (
    ((160, 232), (190, 232)),  # clip to noised
    ((340, 222), (360, 222), (360, 122), (380, 122)),  # noised to teacher
    ((340, 242), (360, 242), (360, 330), (380, 330)),  # noised to student
    ((470, 154), (470, 200)),  # features to ICD
    ((470, 310), (470, 264)),
    ((560, 122), (620, 122)),
    ((560, 342), (620, 342)),
    ((685, 154), (685, 200)),  # both to the output loss
    ((685, 310), (685, 264)),
    ((90, 264), (90, 342), (190, 342)),  # the right answer to the task loss
    ((640, 374), (640, 400), (265, 400), (265, 374)),  # the student's answer to it
    ((750, 122), (775, 122), (775, 514), (590, 514), (590, 485), (560, 485)),  # clips to the heads, with noise again
    ((750, 342), (762, 342), (762, 412), (590, 412), (590, 445), (560, 445)),
    ((560, 465), (620, 465)),
)
TITLE = (
    "A step of healing: the same noisy clip goes through teacher and student, and losses compare what they make of it"
)


def pictures() -> dict[str, str]:
    """File name -> SVG."""
    config, ways = json.loads(UNET.read_text()), json.loads(PLANS.read_text())["ways"]
    removed = {plan: ways[plan]["seeds"]["0"]["removed_blocks"] for plan in ("paper", "deep")}
    drawn = {f"unet-{plan}.svg": _on_white(unet_drawing.draw(config, blocks)) for plan, blocks in removed.items()}
    return drawn | {"healing-step.svg": _healing_step()}


def _on_white(svg: str) -> str:
    """A page's inline drawing as a file of its own, readable on a dark page too."""
    sized = re.sub(
        r'<svg viewBox="0 0 (\d+) (\d+)" style="[^"]*"',
        lambda found: _head(int(found[1]) + MARGIN, int(found[2]) + MARGIN, left=-MARGIN),
        svg,
    )
    return sized.replace(">", '><rect x="-10" y="-10" width="100%" height="100%" fill="#ffffff"/>', 1) + "\n"


def _head(width: int, height: int, *, left: int = 0) -> str:
    return f'<svg xmlns="{NAMESPACE}" viewBox="{left} {left} {width} {height}" width="{width}" height="{height}"'


def _healing_step() -> str:
    words = (
        (WIDTH // 2, 30, "One step of healing"),
        (WIDTH // 2, 54, "the student learns from all losses, the heads from their own"),
        (850, 470, "both clips get"),
        (850, 486, "noise once more"),
    )
    text = "".join(f'<text x="{x}" y="{y}" fill="{LINE}">{line}</text>' for x, y, line in words)
    head = (
        f'{_head(WIDTH, HEIGHT)} role="img" aria-label="{TITLE}" font-family="system-ui,sans-serif" font-size="13" '
        'text-anchor="middle"><rect width="100%" height="100%" fill="#ffffff"/><defs><marker id="tip" '
        'viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>{text}'
    )
    return head + "".join(map(_arrow, ARROWS)) + "".join(map(_box, BOXES.values())) + "</svg>\n"


def _box(box: Box) -> str:
    left, top, width, height, colour, text = box
    lines = text.split("|")
    first = top + height / 2 + 5 - 8 * (len(lines) - 1)
    words = "".join(
        f'<text x="{left + width / 2:g}" y="{first + 16 * i:g}" fill="{INK}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="{LINE}"/>{words}'
    )


def _arrow(points: tuple[tuple[int, int], ...]) -> str:
    path = "L".join(f"{x} {y}" for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'


def main() -> int:
    """Write the drawings, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are what they should be")
    found = pictures()
    if parser.parse_args().check:
        return 0 if all((TARGET / name).read_text() == svg for name, svg in found.items()) else 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, svg in found.items():
        (TARGET / name).write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
