"""Ask Prometheus what panels and variables ask, as Grafana would: variables filled in, panels repeated."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Asker:
    """Fills in variables, everything chosen, and asks Prometheus."""

    client: httpx.Client
    start: float
    end: float
    window: str
    chosen: Mapping[str, str]

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
        return re.sub(r"\$([a-z]\w*)", lambda found: {**self.chosen, **chosen}.get(found[1], ".*"), expr)

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
