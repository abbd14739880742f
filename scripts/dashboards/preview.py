"""Draw a dashboard with its own queries' answers, to look at it where there is no Grafana. The drawing is ours.

python scripts/dashboards/preview.py --prometheus http://127.0.0.1:9090 [--minutes 30] [--choose steps=1,4]
"""

import argparse
import io
import json
import math
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from colorsys import hls_to_rgb, rgb_to_hls
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
from asking import Asker, expanded
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

mpl.use("Agg")
FOLDER = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "dashboards"
CELL_WIDTH, CELL_HEIGHT = 0.78, 0.42
"""Inches of a column of Grafana's 24, and of a row."""
PAGE, CARD, INK, FAINT = "#111217", "#181B1F", "#CCCCDC", "#6E7079"
NAMED = {"green": "#73BF69", "yellow": "#FADE2A", "red": "#F2495C", "text": INK}
PALETTE = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D")
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
Series = tuple[str, list[float], list[float], Mapping[str, Any]]


def draw(dashboard: Mapping[str, Any], ask: Asker) -> Figure:
    """The whole dashboard."""
    panels = list(expanded(dashboard, ask))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in panels)
    head = 2.2
    figure = plt.figure(figsize=(24 * CELL_WIDTH, (rows + head) * CELL_HEIGHT), facecolor=PAGE)
    figure.text(0.008, 1 - 0.7 / (rows + head), dashboard["title"], color=INK, size=20, va="center")
    note = "drawn by scripts/dashboards/preview.py from the dashboard's own queries; not a picture of Grafana"
    figure.text(0.992, 1 - 0.7 / (rows + head), note, color=FAINT, size=10, va="center", ha="right")
    filters = "   ".join(
        f"{each['label']}: {ask.chosen.get(each['name'], 'All').strip('()').replace('|', ', ')}"
        for each in dashboard["templating"]["list"]
    )
    figure.text(0.008, 1 - 1.6 / (rows + head), filters, color=FAINT, size=11, va="center")
    for panel, chosen in panels:
        place = panel["gridPos"]
        left, width = place["x"] / 24, place["w"] / 24
        bottom = 1 - (place["y"] + head + place["h"]) / (rows + head)
        height = place["h"] / (rows + head)
        if panel["type"] == "row":
            figure.text(
                0.008,
                bottom + height / 2,
                f"\N{BLACK DOWN-POINTING SMALL TRIANGLE} {panel['title']}",
                color=INK,
                size=13,
                va="center",
            )
            continue
        card = figure.add_axes((left + 0.002, bottom + 0.1 / rows, width - 0.004, height - 0.2 / rows), facecolor=CARD)
        _card(card, panel, chosen, ask)
    return figure


def _card(card: Axes, panel: Mapping[str, Any], chosen: Mapping[str, str], ask: Asker) -> None:
    card.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    card.spines[:].set_visible(False)
    wide, high = _inches(panel)
    title = re.sub(r"\$(\w+)", lambda found: chosen.get(found[1], "all"), panel["title"])
    title = textwrap.shorten(title, int(wide * 11.5), placeholder=" ...")
    card.text(0.09 / wide, 1 - 0.19 / high, title, color=INK, size=11, weight="bold", va="center")
    series = list(_series(panel, chosen, ask))
    if series:
        {"stat": _stat, "barchart": _pairs, "timeseries": _trend, "table": _table}[panel["type"]](card, panel, series)
        return
    words = textwrap.fill(panel["fieldConfig"]["defaults"]["noValue"], int(wide * 10))
    card.text(0.5, 0.45, words, color=FAINT, size=10.5, ha="center", va="center")


def _inches(panel: Mapping[str, Any]) -> tuple[float, float]:
    return panel["gridPos"]["w"] * CELL_WIDTH, panel["gridPos"]["h"] * CELL_HEIGHT


def _inner(card: Axes, panel: Mapping[str, Any], *, left: float = 0.1, below: float = 0.1) -> Axes:
    """What is left of a card below its title, with margins in inches."""
    wide, high = _inches(panel)
    return card.inset_axes(
        (left / wide, below / high, 1 - (left + 0.15) / wide, 1 - (below + 0.45) / high), facecolor=CARD
    )


def _series(panel: Mapping[str, Any], chosen: Mapping[str, str], ask: Asker) -> Iterator[Series]:
    for target in panel["targets"]:
        expr = ask.fill(target["expr"], chosen)
        for found in ask.now(expr) if target.get("instant") else ask.course(expr):
            labels = found["metric"]
            legend = target.get("legendFormat") or ""
            name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda each, of=labels: of.get(each[1], ""), legend)
            points = found.get("values") or [found["value"]]
            yield (
                name,
                [float(at) for at, _ in points],
                [float(value) for _, value in points],
                labels | {"__ref": target["refId"]},
            )


def _stat(card: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes = _inner(card, panel)
    axes.axis("off")
    named = panel["options"]["textMode"] == "value_and_name"
    side_by_side = panel["gridPos"]["w"] > panel["gridPos"]["h"]
    for at, (name, _, values, _) in enumerate(series):
        middle = (at + 0.5) / len(series)
        x, y = (middle, 0.5) if side_by_side else (0.5, 1 - middle)
        text, color = spoken(values[-1], panel), _threshold(values[-1], panel["fieldConfig"]["defaults"])
        axes.annotate(text, (x, y), (0, 8 if named else 0), textcoords="offset points", color=color, size=26, **CENTRED)
        if named:
            axes.annotate(name, (x, y), (0, -18), textcoords="offset points", color=INK, size=10, **CENTRED)


def _pairs(card: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes = _inner(card, panel, below=0.4)
    axes.axis("off")
    by, names = panel["options"]["xField"], _titles(panel)
    groups = sorted({labels[by] for *_, labels in series})
    refs = [target["refId"] for target in panel["targets"]]
    most, high = max(values[-1] for _, _, values, _ in series), 0.8 / len(refs)
    axes.set(xlim=(-0.55 * most, most * 1.2), ylim=(len(groups) - 0.5, -0.5))
    for _, _, values, labels in series:
        at = groups.index(labels[by]) + (refs.index(labels["__ref"]) - (len(refs) - 1) / 2) * high
        name = names[f"Value #{labels['__ref']}"]
        color = _override(panel, name, "color")["fixedColor"]
        axes.barh(at, values[-1], color=color, height=high * 0.9, label=name)
        axes.text(values[-1] + 0.02 * most, at, spoken(values[-1], panel), color=color, size=12, va="center")
    for at, group in enumerate(groups):
        axes.text(-0.02 * most, at, group, color=INK, size=10.5, ha="right", va="center")
    handles = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    card.legend(handles.values(), handles, loc="lower left", ncols=2, fontsize=9, frameon=False, labelcolor=INK)


def _titles(panel: Mapping[str, Any]) -> dict[str, str]:
    """Titles of a table's fields, in order."""
    options = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    return {
        field: options["renameByName"][field]
        for field in sorted(options["indexByName"], key=options["indexByName"].get)
    }


def _trend(card: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    columns = max(1, panel["gridPos"]["w"] // 6)
    axes = _inner(card, panel, left=0.75, below=0.35 + 0.19 * math.ceil(len(series) / columns))
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    floor: dict[float, float] = {}
    for at, (name, times, values, labels) in enumerate(series):
        style: dict[str, Any] = {"color": _color(panel, name, labels["__ref"], at), "label": name}
        line = _override(panel, labels["__ref"], "custom.lineStyle")
        if stacked:
            base = [floor.get(each, 0.0) for each in times]
            floor |= {each: low + value for each, low, value in zip(times, base, values, strict=True)}
            axes.bar(times, values, _step(times), bottom=base, alpha=0.75, **style)
        elif line:
            axes.plot(times, values, linestyle={"dash": "--", "dot": ":"}[line["fill"]], linewidth=1.8, **style)
        else:
            axes.plot(times, values, linewidth=1.6, marker="o", markersize=2.5, **style)
    if defaults["custom"].get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color=NAMED["red"], linestyle=":", linewidth=1)
    _axis(axes, panel, columns)


def _step(times: Sequence[float]) -> float:
    return min((after - before for before, after in pairwise(times)), default=5)


def _axis(axes: Axes, panel: Mapping[str, Any], columns: int) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#2C3235", linewidth=0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(lambda value, _: spoken(value, panel))
    axes.xaxis.set_major_formatter(lambda value, _: time.strftime("%H:%M", time.gmtime(value)))
    place: dict[str, Any] = {
        "loc": "upper left",
        "bbox_to_anchor": (0, -0.24 / _inches(panel)[1] * 1.4),
        "ncols": columns,
    }
    axes.legend(fontsize=8.5, frameon=False, labelcolor=INK, borderaxespad=0, **place)


def _table(card: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes = _inner(card, panel)
    axes.axis("off")
    titles = _titles(panel)
    rows: dict[str, dict[str, str]] = {}
    for _, _, values, labels in series:
        plain = {name: value for name, value in labels.items() if not name.startswith("__")}
        field = "Value" if len(panel["targets"]) == 1 else f"Value #{labels['__ref']}"
        unit = _override(panel, titles.get(field, ""), "unit")
        rows.setdefault(json.dumps(plain, sort_keys=True), dict(plain))[field] = spoken(values[-1], panel, unit=unit)
    line = 0.28 / (_inches(panel)[1] - 0.55)
    shown = [titles, *list(rows.values())[: int(1 / line) - 1]]
    widths = [max(len(row.get(field, "")) for row in shown) + 2 for field in titles]
    for at, row in enumerate(shown):
        for field, before in zip(titles, accumulate(widths, initial=0), strict=False):
            place = (before / max(9 * _inches(panel)[0], sum(widths)), 1 - (at + 0.5) * line)
            axes.text(*place, row.get(field, ""), color=INK if at else FAINT, size=10.5, va="center")


def _override(panel: Mapping[str, Any], name: str, key: str) -> Any:
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            for found in override["properties"]:
                if found["id"] == key:
                    return found["value"]
    return None


def _color(panel: Mapping[str, Any], name: str, ref: str, at: int) -> tuple[float, float, float]:
    named, of_query = _override(panel, name, "color"), _override(panel, ref, "color")
    if named:
        return to_rgb(named["fixedColor"])
    if not of_query:
        return to_rgb(PALETTE[at % len(PALETTE)])
    hue, light, strength = rgb_to_hls(*to_rgb(of_query["fixedColor"]))
    return hls_to_rgb(hue, min(0.9, light * (0.75, 1, 1.25)[at % 3]), strength)


def _threshold(value: float, defaults: Mapping[str, Any]) -> str:
    reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    color = str(reached[-1]["color"])
    return NAMED.get(color, color)


def spoken(value: float, panel: Mapping[str, Any], *, unit: str | None = None) -> str:
    """A value as Grafana would write it, nearly."""
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings") or ():
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    unit = unit or defaults["unit"]
    if unit == "percentunit":
        return f"{value:.{defaults.get('decimals', 0)}%}"
    if unit == "s":
        return (
            f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s" if value < 60 else f"{value / 60:.3g} min"
        )
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB" if value < 2**30 else f"{value / 2**30:.3g} GiB"
    number = f"{value:.{defaults['decimals']}f}" if "decimals" in defaults else f"{value:.3g}"
    return f"{number} {unit.removeprefix('suffix:').replace('none', '')}".rstrip()


def _save(figure: Figure, target: Path) -> None:
    """Few colours make a small file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80, facecolor=PAGE)
    Image.open(drawn).convert("RGB").quantize(128).save(target, optimize=True)


def main() -> int:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(FOLDER.glob("*.json")))
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--minutes", type=float, default=30, help="how much of the past to show")
    parser.add_argument("--window", default="1m", help="what stands for $__rate_interval")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    parser.add_argument("--choose", nargs="*", default=[], metavar="VARIABLE=VALUE[,VALUE]", help="filters")
    options = parser.parse_args()
    pairs = (each.partition("=") for each in options.choose)
    chosen = {name: f"({values.replace(',', '|')})" for name, _, values in pairs}
    end = time.time()
    with httpx.Client(base_url=options.prometheus, timeout=30, trust_env=False) as client:
        ask = Asker(client, end - 60 * options.minutes, end, options.window, chosen)
        for path in options.files:
            dashboard = json.loads(path.read_text(encoding="utf-8"))
            target = options.output / f"{dashboard['uid'].replace('vdmini', 'dashboard')}.png"
            _save(draw(dashboard, ask), target)
            print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
