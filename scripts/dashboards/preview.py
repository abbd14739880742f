"""Draw a dashboard with its own queries' answers, to look at it where there is no Grafana. The drawing is ours.

python scripts/dashboards/preview.py --prometheus http://127.0.0.1:9090 [--minutes 30] [--output FOLDER] [FILE.json ...]
"""

import argparse
import json
import math
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")
FOLDER = Path(__file__).resolve().parents[2] / "docker" / "grafana" / "dashboards"
CELL_WIDTH, CELL_HEIGHT = 0.78, 0.42
"""Inches of a column of Grafana's 24, and of a row."""
PAGE, CARD, INK, FAINT = "#111217", "#181B1F", "#CCCCDC", "#6E7079"
NAMED = {"green": "#73BF69", "yellow": "#FADE2A", "red": "#F2495C", "text": INK}
PALETTE = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D")
Series = tuple[str, list[float], list[float], Mapping[str, Any]]


@dataclass(frozen=True)
class Asker:
    """Fills in variables, everything chosen, and asks Prometheus."""

    client: httpx.Client
    start: float
    end: float
    window: str

    def labels(self, query: str) -> list[str]:
        """Values of a variable, `label_values(SERIES, LABEL)`."""
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        if not found:
            raise ValueError(f"not a query for a variable's values: {query}")
        answer = self.client.get(f"/api/v1/label/{found[2]}/values", params={"match[]": self.fill(found[1], {})})
        return list(answer.raise_for_status().json()["data"])

    def fill(self, expr: str, chosen: Mapping[str, str]) -> str:
        """An expression without variables."""
        for name, value in {"__rate_interval": self.window, "__range": f"{self.end - self.start:.0f}s"}.items():
            expr = expr.replace(f"${name}", value)
        return re.sub(r"\$(\w+)", lambda found: chosen.get(found[1], ".*"), expr)

    def now(self, expr: str) -> list[dict[str, Any]]:
        """An instant vector."""
        answer = self.client.post("/api/v1/query", data={"query": expr, "time": str(self.end)})
        return list(answer.raise_for_status().json()["data"]["result"])

    def course(self, expr: str) -> list[dict[str, Any]]:
        """A matrix of about 200 points."""
        step = max(5.0, (self.end - self.start) / 200)
        times = {"start": str(self.start), "end": str(self.end), "step": str(step)}
        answer = self.client.post("/api/v1/query_range", data={"query": expr, **times})
        return list(answer.raise_for_status().json()["data"]["result"])


def expanded(dashboard: Mapping[str, Any], ask: Asker) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Panels with what is chosen for them; one that repeats is there once for each value, side by side."""
    variables = {each["name"]: each["query"] for each in dashboard["templating"]["list"]}
    for panel in dashboard["panels"]:
        if not panel.get("repeat"):
            yield panel, {}
            continue
        values = ask.labels(variables[panel["repeat"]])
        width = 24 // max(1, min(len(values), panel["maxPerRow"]))
        for at, value in enumerate(values):
            place = panel["gridPos"] | {"x": at * width % 24, "w": width}
            yield panel | {"gridPos": place}, {panel["repeat"]: value}


def draw(dashboard: Mapping[str, Any], ask: Asker) -> Figure:
    """The whole dashboard."""
    panels = list(expanded(dashboard, ask))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel, _ in panels)
    head = 2.2
    figure = plt.figure(figsize=(24 * CELL_WIDTH, (rows + head) * CELL_HEIGHT), facecolor=PAGE)
    figure.text(0.008, 1 - 0.7 / (rows + head), dashboard["title"], color=INK, size=20, va="center")
    note = "drawn by scripts/dashboards/preview.py from the dashboard's own queries; not a picture of Grafana"
    figure.text(0.992, 1 - 0.7 / (rows + head), note, color=FAINT, size=10, va="center", ha="right")
    filters = "   ".join(f"{each['label']}: All" for each in dashboard["templating"]["list"])
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
    title = re.sub(r"\$(\w+)", lambda found: chosen.get(found[1], "all"), panel["title"])
    high, wide = panel["gridPos"]["h"] * CELL_HEIGHT, panel["gridPos"]["w"] * CELL_WIDTH
    title = textwrap.shorten(title, int(wide * 11.5), placeholder=" ...")
    card.text(0.09 / wide, 1 - 0.17 / high, title, color=INK, size=11, weight="bold", va="center")
    inner = card.inset_axes((0.1 / wide, 0.1 / high, 1 - 0.2 / wide, 1 - 0.45 / high), facecolor=CARD)
    series = list(_series(panel, chosen, ask))
    if not series:
        inner.axis("off")
        words = textwrap.fill(panel["fieldConfig"]["defaults"]["noValue"], int(wide * 10))
        inner.text(0.5, 0.5, words, color=FAINT, size=10.5, ha="center", va="center")
        return
    {"stat": _stat, "bargauge": _bars, "timeseries": _trend, "table": _table}[panel["type"]](inner, panel, series)


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


def _stat(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes.axis("off")
    named = panel["options"]["textMode"] == "value_and_name"
    side_by_side = panel["gridPos"]["w"] > panel["gridPos"]["h"] and len(series) > 1
    for at, (name, _, values, _) in enumerate(series):
        middle = (at + 0.5) / len(series)
        x, y = (middle, 0.5) if side_by_side else (0.5, 1 - middle)
        text, color = spoken(values[-1], panel), _threshold(values[-1], panel["fieldConfig"]["defaults"])
        size = 30 if len(series) == 1 else 24
        axes.text(
            x,
            y + (0.1 / max(1, len(series)) if named else 0),
            text,
            color=color,
            size=size,
            ha="center",
            va="center",
            weight="bold",
        )
        if named:
            axes.text(x, y - 0.3 / max(1.5, len(series)), name, color=INK, size=10, ha="center", va="center")


def _bars(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes.axis("off")
    most = max(values[-1] for _, _, values, _ in series)
    axes.set(xlim=(-0.85 * most, most * 1.25), ylim=(len(series) - 0.4, -0.6))
    for at, (name, _, values, labels) in enumerate(series):
        color = _color(panel, name, labels["__ref"], at)
        axes.barh(at, values[-1], color=color, height=0.62)
        axes.text(-0.02 * most, at, name, color=INK, size=10.5, ha="right", va="center")
        axes.text(
            values[-1] + 0.02 * most, at, spoken(values[-1], panel), color=color, size=12, va="center", weight="bold"
        )


def _trend(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    floor: dict[float, float] = {}
    for at, (name, times, values, labels) in enumerate(series):
        color, dashed = _color(panel, name, labels["__ref"], at), _dashed(panel, labels["__ref"])
        if stacked:
            base = [floor.get(each, 0.0) for each in times]
            tops = [low + value for low, value in zip(base, values, strict=True)]
            floor |= dict(zip(times, tops, strict=True))
            width = (times[1] - times[0]) if len(times) > 1 else 5
            axes.bar(times, values, width, bottom=base, color=color, alpha=0.75, label=name, linewidth=0)
        else:
            axes.plot(
                times,
                values,
                color=color,
                label=name,
                linewidth=1.6,
                linestyle="--" if dashed else "-",
                marker="o" if not dashed else "",
                markersize=2.5,
            )
    defaults = panel["fieldConfig"]["defaults"]
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"], color=NAMED["red"], linestyle=":", linewidth=1)
    _axis(axes, panel, len(series))


def _axis(axes: Axes, panel: Mapping[str, Any], lines: int) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#2C3235", linewidth=0.6)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=FAINT, labelsize=9, length=0)
    axes.yaxis.set_major_formatter(lambda value, _: spoken(value, panel))
    axes.xaxis.set_major_formatter(lambda value, _: time.strftime("%H:%M", time.gmtime(value)))
    columns = max(1, panel["gridPos"]["w"] // 6)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.06),
        ncols=columns,
        fontsize=8.5,
        frameon=False,
        labelcolor=INK,
        borderaxespad=0.6,
    )
    legend_rows = math.ceil(lines / columns)
    box = axes.get_position()
    share = min(0.5, (0.3 + 0.19 * legend_rows) / (panel["gridPos"]["h"] * CELL_HEIGHT))
    axes.set_axes_locator(None)
    axes.set_position(
        (0.05 if panel["gridPos"]["w"] > 12 else 0.08, share, 0.93 if panel["gridPos"]["w"] > 12 else 0.9, 0.86 - share)
    )
    del box


def _table(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes.axis("off")
    organise = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    fields = sorted(organise["indexByName"], key=organise["indexByName"].__getitem__)
    one = len(panel["targets"]) == 1
    rows: dict[str, dict[str, str]] = {}
    for _, _, values, labels in series:
        plain = {name: value for name, value in labels.items() if not name.startswith("__")}
        row = rows.setdefault(json.dumps(plain, sort_keys=True), dict(plain))
        field = "Value" if one else f"Value #{labels['__ref']}"
        row[field] = spoken(values[-1], panel, unit=_override(panel, organise["renameByName"].get(field, ""), "unit"))
    widths = [
        max(len(organise["renameByName"][field]), *(len(row.get(field, "")) for row in rows.values())) + 2
        for field in fields
    ]
    starts = [sum(widths[:at]) / sum(widths) for at in range(len(widths))]
    high = panel["gridPos"]["h"] * CELL_HEIGHT
    for at, row in enumerate([organise["renameByName"], *list(rows.values())[: int(high / 0.28) - 2]]):
        for field, x in zip(fields, starts, strict=True):
            axes.text(
                x,
                1 - (at + 0.5) * 0.28 / high,
                row.get(field, ""),
                color=FAINT if at == 0 else INK,
                size=10.5,
                va="center",
            )


def _override(panel: Mapping[str, Any], name: str, key: str) -> Any:
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == name:
            for found in override["properties"]:
                if found["id"] == key:
                    return found["value"]
    return None


def _color(panel: Mapping[str, Any], name: str, ref: str, at: int) -> str:
    fixed = _override(panel, name, "color") or _override(panel, ref, "color")
    if fixed:
        return str(fixed["fixedColor"])
    return PALETTE[at % len(PALETTE)]


def _dashed(panel: Mapping[str, Any], ref: str) -> bool:
    return _override(panel, ref, "custom.lineStyle") is not None


def _threshold(value: float, defaults: Mapping[str, Any]) -> str:
    reached = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    color = reached[-1]["color"]
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


def main() -> int:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=sorted(FOLDER.glob("*.json")))
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--minutes", type=float, default=30, help="how much of the past to show")
    parser.add_argument("--window", default="1m", help="what stands for $__rate_interval")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    options = parser.parse_args()
    end = time.time()
    with httpx.Client(base_url=options.prometheus, timeout=30, trust_env=False) as client:
        ask = Asker(client, end - 60 * options.minutes, end, options.window)
        for path in options.files:
            dashboard = json.loads(path.read_text(encoding="utf-8"))
            target = options.output / f"{dashboard['uid'].replace('vdmini', 'dashboard')}.png"
            draw(dashboard, ask).savefig(target, dpi=80, facecolor=PAGE)
            print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
