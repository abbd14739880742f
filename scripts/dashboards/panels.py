"""Kinds of panel. Each must have a question as title, a unit, words for an empty state, and what good looks like.

The types are Grafana's own (its Foundation SDK is generated from Grafana's schemas). Where panels stand is left to
`board`, what they ask to the dashboards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from grafana_foundation_sdk.builders import barchart, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE_UID = "prometheus"
"""Of the provisioned datasource; also what kube-prometheus-stack calls its own."""

STUDENT, TEACHER = "#5794F2", "#FF9830"
"""The compressed model is blue and the uncompressed one orange, on every dashboard."""
GOOD, WATCH, BAD, NEUTRAL = "green", "yellow", "red", "text"

Line = Literal["solid", "dash", "dot"]
REF_IDS = "ABCDEFGH"
"""Names of a panel's queries, in order."""

TIMES = "suffix:×"  # noqa: RUF001  # a multiplication sign is what is meant

AnyPanel = stat.Panel | timeseries.Panel | barchart.Panel | table.Panel
AS_TABLES = (table.Panel, barchart.Panel)
Styled = TypeVar("Styled", stat.Panel, timeseries.Panel, barchart.Panel, table.Panel)


@dataclass(frozen=True)
class Query:
    """One expression of a panel.

    Args:
        expr: PromQL.
        legend: name of each series.
        color: of all its series, in shades; thresholds or the palette decide without one.
        line: `dash` for what is compared with, such as a baseline, `dot` for tails.
    """

    expr: str
    legend: str = ""
    color: str = ""
    line: Line = "solid"


@dataclass(frozen=True)
class Column:
    """One column of a table: a label, or the value of a query (`Value #A` for the first)."""

    field: str
    title: str
    unit: str = ""
    steps: tuple[tuple[float | None, str], ...] = ()


@dataclass(frozen=True)
class Ask:
    """What every panel must say for itself.

    Args:
        title: a question.
        shows: what is drawn.
        good: what a good answer looks like.
        otherwise: what to do when it is not good.
        empty: what it means when nothing is drawn.
        unit: Grafana's id.
        width: of 24 columns.
        height: in rows of 38 pixels.
        decimals: none leaves it to Grafana.
        steps: from which value on which colour; the first begins at None.
        repeat: name of a variable; the panel is drawn once for each of its values.
        runbooks: sections of docs/runbooks.md on the alerts that watch over this.
    """

    title: str
    shows: str
    good: str
    otherwise: str
    empty: str
    unit: str
    width: int = 12
    height: int = 8
    decimals: int | None = None
    steps: tuple[tuple[float | None, str], ...] = ()
    repeat: str = ""
    runbooks: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The text behind the panel's (i), in Markdown."""
        parts = [self.shows, f"**Good:** {self.good}", f"**Otherwise:** {self.otherwise}"]
        if self.runbooks:
            parts.append(f"**Runbook:** docs/runbooks.md, {', '.join(self.runbooks)}")
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Panel:
    """A question and how it is answered."""

    ask: Ask
    builder: AnyPanel


def figure(ask: Ask, *queries: Query, show_names: bool = False, words: Mapping[str, str] | None = None) -> Panel:
    """A big number for each series; `words` replace single values."""
    made = _panel(stat.Panel(), ask, queries, at_once=True)
    made.color_mode(options.BigValueColorMode.VALUE).graph_mode(options.BigValueGraphMode.NONE)
    made.text_mode(options.BigValueTextMode.VALUE_AND_NAME if show_names else options.BigValueTextMode.VALUE)
    made.reduce_options(_last()).orientation(options.VizOrientation.AUTO).justify_mode(options.BigValueJustifyMode.AUTO)
    if words:
        mapped = {
            value: models.ValueMappingResult(text=text, index=at) for at, (value, text) in enumerate(words.items())
        }
        made.mappings([models.ValueMap(options=mapped)])
    return Panel(ask, made)


def pairs(ask: Ask, *queries: Query, by: str) -> Panel:
    """Horizontal bars in groups: one group for each value of the label `by`, one bar in it for each query's series."""
    made = _panel(barchart.Panel(), ask, queries, at_once=True).x_field(by)
    made.orientation(options.VizOrientation.HORIZONTAL).show_value(options.VisibilityMode.ALWAYS)
    made.stacking(options.StackingMode.NONE).group_width(0.7).bar_width(0.9).fill_opacity(85).min(0)
    made.legend(_legend()).tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))
    names = {f"Value #{ref_id}": query.legend for query, ref_id in zip(queries, REF_IDS, strict=False)}
    _as_one_table(made, {by: by, **names})
    for query in queries:
        made.override_by_name(query.legend, [_colored(query.color)])
    return Panel(ask, made)


def trend(
    ask: Ask,
    *queries: Query,
    stacked: bool = False,
    as_bars: bool = False,
    colors: Mapping[str, str] | None = None,
    line_at: bool = False,
) -> Panel:
    """Lines over time.

    Args:
        ask: the question.
        queries: one or more lines each.
        stacked: areas on top of each other.
        as_bars: for what comes in single events.
        colors: series name -> colour.
        line_at: draw the thresholds as lines.
    """
    made = _panel(timeseries.Panel(), ask, queries, at_once=False)
    made.line_width(2).show_points(options.VisibilityMode.AUTO).point_size(5).span_nulls(span_nulls=300_000)
    made.fill_opacity(35 if stacked else 0).min(0)
    if as_bars:
        made.draw_style(options.GraphDrawStyle.BARS).fill_opacity(70)
    if stacked:
        made.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    if line_at:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED))
    made.legend(_legend())
    made.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    for name, color in (colors or {}).items():
        made.override_by_name(name, [_colored(color)])
    return Panel(ask, made)


def grid(ask: Ask, *queries: Query, columns: Sequence[Column]) -> Panel:
    """A table whose queries become columns of one row for each set of equal labels."""
    made = _panel(table.Panel(), ask, queries, at_once=True).show_header(show_header=True)
    made.align(options.FieldTextAlignment.AUTO).cell_options(options.TableAutoCellOptions()).inspect(inspect=False)
    _as_one_table(made, {column.field: column.title for column in columns})
    for column in columns:
        made.override_by_name(column.title, list(_column(column)))
    return Panel(ask, made)


def _as_one_table(made: table.Panel | barchart.Panel, titles: Mapping[str, str]) -> None:
    """Queries become columns of one row for each set of equal labels; fields get titles, in that order."""
    made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    shown = {
        "excludeByName": {"Time": True},
        "indexByName": {name: at for at, name in enumerate(titles)},
        "renameByName": dict(titles),
    }
    made.with_transformation(models.DataTransformerConfig(id_val="organize", options=shown))


def _legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().show_legend(show_legend=True)
    return made.display_mode(options.LegendDisplayMode.LIST).placement(options.LegendPlacement.BOTTOM)


def _panel(made: Styled, ask: Ask, queries: Sequence[Query], *, at_once: bool) -> Styled:
    made.title(ask.title).description(ask.description).unit(ask.unit).no_value(ask.empty)
    made.span(ask.width).height(ask.height)
    made.datasource(models.DataSourceRef(type_val="prometheus", uid=DATASOURCE_UID))
    if ask.decimals is not None:
        made.decimals(ask.decimals)
    if ask.repeat:
        made.repeat(ask.repeat).repeat_direction("h").max_per_row(2)
    made.thresholds(_steps(ask.steps or ((None, NEUTRAL),)))
    mode = models.FieldColorModeId.THRESHOLDS if at_once else models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME
    made.color_scheme(dashboard.FieldColor().mode(mode))
    for query, ref_id in zip(queries, REF_IDS, strict=False):
        made.with_target(_target(query, ref_id, at_once=at_once, as_table=isinstance(made, AS_TABLES)))
        style = [_colored(query.color, mode="shades")] if query.color else []
        if query.line != "solid":
            pattern = [10, 10] if query.line == "dash" else [0, 6]
            style.append(models.DynamicConfigValue("custom.lineStyle", {"fill": query.line, "dash": pattern}))
        if style and not isinstance(made, AS_TABLES):
            made.override_by_query(ref_id, style)
    return made


def _target(query: Query, ref_id: str, *, at_once: bool, as_table: bool) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(ref_id)
    made.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
    if query.legend:
        made.legend_format(query.legend)
    return made.instant() if at_once else made.range()


def _steps(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False)


def _colored(color: str, *, mode: Literal["fixed", "shades"] = "fixed") -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": mode, "fixedColor": color})


def _column(column: Column) -> Iterator[models.DynamicConfigValue]:
    if column.unit:
        yield models.DynamicConfigValue("unit", column.unit)
    if column.steps:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        yield models.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps})
        yield models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
