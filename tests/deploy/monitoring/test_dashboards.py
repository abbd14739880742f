"""The dashboards: as the generator makes them, complete, in order, and answered by a Prometheus of the real service."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from vdmini_serve.contract.metrics import FAMILIES

ROOT = Path(__file__).resolve().parents[3]
GRAFANA = ROOT / "docker" / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
SILENT = {
    "How much GPU memory do clips need?": "the test's worker has no GPU",
    "Which alerts fire?": "all is well",
    "What is wrong with broken clips?": "the small models make no broken clips",
    "Are old files removed?": "no job has expired, and nothing was left behind",
    "Do webhooks arrive?": "the test's jobs ask for none",
    "Which clip do people prefer, not knowing which is which?": "nobody votes",
    "How many votes are that?": "nobody votes",
}
"""Panels without data after a few good jobs, and why; one that has data does not belong here."""


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for uid, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield uid, panel


def expressions() -> Iterator[str]:
    for _, panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    for dashboard in DASHBOARDS.values():
        yield from (variable["query"] for variable in dashboard["templating"]["list"])


def fill(expression: str, chosen: Mapping[str, str]) -> str:
    """An expression without variables; what none of them is chosen for stands for all."""
    filled = expression.replace("$__rate_interval", "10m").replace("$__range", "10m")
    filled = re.sub(r"\$([a-z]\w*)", lambda found: chosen.get(found[1], ".*"), filled)
    assert "$" not in filled, f"an unknown variable in {expression}"
    return filled


def test_files_are_what_the_generator_makes():
    command = [sys.executable, str(ROOT / "scripts" / "dashboards" / "write.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_panel_is_a_question_and_explains_itself():
    for uid, panel in panels():
        where, defaults = f"{uid}: {panel['title']}", panel["fieldConfig"]["defaults"]
        assert panel["title"].endswith("?"), where
        assert defaults["unit"], where
        assert len(defaults["noValue"]) > 1, where
        assert "**Good:**" in panel["description"], where
        assert "**Otherwise:**" in panel["description"], where
        colors = [step["color"] for step in defaults["thresholds"]["steps"]]
        assert colors, where
        if panel["type"] == "stat" and "waiting" not in panel["title"]:
            assert {"red", "yellow", "green"} & set(colors), f"{where}: nothing says what is good"


def test_a_speed_up_below_one_is_red():
    told = {panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"] for _, panel in panels()}
    steps = told["How much faster is the compressed model?"]
    assert [(step["value"], step["color"]) for step in steps][:2] == [(None, "red"), (1, "yellow")]


def test_panels_lie_side_by_side_within_24_columns():
    for uid, dashboard in DASHBOARDS.items():
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places), uid
        for one, other in combinations(dashboard["panels"], 2):
            a, b = one["gridPos"], other["gridPos"]
            apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            assert apart_x or apart_y, f"{uid}: {one['title']} and {other['title']} overlap"


def test_names_are_unique_and_the_datasource_is_the_provisioned_one():
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
    assert list(DASHBOARDS) == sorted(uids) == sorted(set(uids))
    for dashboard in DASHBOARDS.values():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(numbers) == len(set(numbers))
        asked = [panel["datasource"]["uid"] for panel in dashboard["panels"] if panel["type"] != "row"]
        asked += [variable["datasource"]["uid"] for variable in dashboard["templating"]["list"]]
        assert {each["uid"] for each in provisioned} == set(asked) == {"prometheus"}
    titles = [panel["title"] for _, panel in panels()]
    assert len(titles) == len(set(titles)), "a title is how the guide and this test name a panel"


def test_every_metric_is_declared_or_recorded():
    rules = yaml.safe_load((ROOT / "docker/prometheus/rules/recording.yml").read_text())["groups"]
    known = {rule["record"] for group in rules for rule in group["rules"]}
    for family in FAMILIES:
        parts = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        known |= {family.name + part for part in parts}
    used = {name for each in expressions() for name in re.findall(r"[\w:]*vdmini_\w+(?::\w+)?", each)}
    assert len(used) > 20
    assert used <= known


def test_every_runbook_that_is_named_is_there():
    there = set(re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE))
    named = {
        name.strip()
        for _, panel in panels()
        for found in re.findall(r"\*\*Runbook:\*\* docs/runbooks\.md, (.*)", panel["description"])
        for name in found.split(",")
    }
    assert len(named) > 8
    assert named <= there


@pytest.fixture(scope="module")
def served(watched_service) -> dict[str, str]:
    """What belongs together: the labels of a job that was served, of a model that can have made it."""
    (row, *_) = watched_service.query('vdmini_job_latency_seconds_count{task="t2v", variant="vdmini"} > 0')
    (model,) = watched_service.query('vdmini_model_info{task="t2v", variant="vdmini"}')
    labels = {name: row["metric"][name] for name in ("task", "size", "steps")}
    return labels | {"model": model["metric"]["name"], "variant": "(teacher|vdmini)"}


def test_every_variable_offers_values_one_of_them_served(watched_service, served):
    for uid, dashboard in DASHBOARDS.items():
        for variable in dashboard["templating"]["list"]:
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            matching = {"match[]": fill(found[1], {})}
            answer = watched_service.prometheus.get(f"/api/v1/label/{found[2]}/values", params=matching).json()
            assert answer["status"] == "success", (uid, variable["name"], answer)
            assert any(re.fullmatch(served[variable["name"]], value) for value in answer["data"]), (uid, answer)


def answer(watched_service: Any, target: Mapping[str, Any], chosen: Mapping[str, str]) -> list[float]:
    """All numbers that a panel gets for one of its expressions: now, or over a quarter of an hour."""
    expression = fill(target["expr"], chosen)
    if target.get("instant"):
        return [float(row["value"][1]) for row in watched_service.query(expression)]
    asked = {"query": expression, "start": time.time() - 900, "end": time.time(), "step": 5}
    told = watched_service.prometheus.get("/api/v1/query_range", params=asked).json()
    assert told["status"] == "success", f"{told['error']}: {expression}"
    return [float(number) for row in told["data"]["result"] for _, number in row["values"]]


@pytest.mark.parametrize("everything", [True, False], ids=["all", "chosen"])
def test_every_panel_is_answered_with_numbers(watched_service, served, everything):
    """Each expression must be one that Prometheus takes; each panel has numbers, or a reason why not."""
    silent = set()
    for _, panel in panels():
        chosen = {} if everything else dict(served)
        if everything and panel.get("repeat"):
            chosen[panel["repeat"]] = served[panel["repeat"]]  # as Grafana does for each of its values
        answers = {target["expr"]: answer(watched_service, target, chosen) for target in panel["targets"]}
        numbers = [number for found in answers.values() for number in found]
        assert all(math.isfinite(number) for number in numbers), f"{panel['title']} shows {numbers}"
        if panel["title"] not in SILENT:
            missing = [expression for expression, found in answers.items() if not found]
            assert not missing, f"{panel['title']} has no data for {missing}"
        elif not numbers:
            silent.add(panel["title"])
    assert silent == set(SILENT), "a panel that has data needs no reason why not"
