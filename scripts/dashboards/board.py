"""A dashboard: sections of panels from left to right, variables that filter them, links to the other dashboards."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.table import Options as TableOptions
from panels import DATASOURCE_UID, Panel

TAG = "vdmini"
"""By it the dashboards find each other."""


@dataclass(frozen=True)
class Variable:
    """A filter on top of a dashboard.

    Args:
        name: of the label that it filters.
        label: what people read.
        query: where its values come from, `label_values(...)`.
        description: what choosing one does.
    """

    name: str
    label: str
    query: str
    description: str


@dataclass(frozen=True)
class Section:
    """A row of the dashboard and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard.

    Args:
        uid: part of its address; never changed.
        title: in Grafana's list.
        description: what it is for.
        variables: filters, the widest first.
        sections: from top to bottom; the first answers the dashboard's question at a glance.
    """

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]

    def build(self) -> models.Dashboard:
        """In Grafana's own types."""
        made = dashboard.Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG])
        made.time("now-1h", "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
        made.link(_to_the_others())
        for variable in self.variables:
            made.with_variable(_filter(variable))
        number = 0
        for section in self.sections:
            number += 1
            made.with_row(dashboard.Row(section.title).id(number))
            for panel in section.panels:
                number += 1
                made.with_panel(panel.builder.id(number))
        return _for_newer_grafana(made.build())


def _for_newer_grafana(made: models.Dashboard) -> models.Dashboard:
    """The SDK speaks Grafana 11.6 and writes out a few defaults that 13 has no name for any more."""
    for variable in (made.templating and made.templating.list_val) or ():
        variable.auto = variable.auto_min = variable.auto_count = None
    for panel in made.panels or ():
        if isinstance(panel, models.Panel) and isinstance(panel.options, TableOptions):
            panel.options.footer = None
    return made


def _filter(variable: Variable) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .description(variable.description)
        .datasource(models.DataSourceRef(type_val="prometheus", uid=DATASOURCE_UID))
        .query(variable.query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.NATURAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(everything)
    )


def _to_the_others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("VDMini")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def panels_of(boards: Sequence[Board]) -> tuple[Panel, ...]:
    """All panels of all dashboards."""
    return tuple(panel for board in boards for section in board.sections for panel in section.panels)
