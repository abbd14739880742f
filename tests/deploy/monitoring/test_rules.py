"""The committed Prometheus configuration and rules, without any service: promtool, and what it cannot know."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vdmini_serve.contract import metrics
from vdmini_serve.contract.problem import SERVICE_FAULTS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docker" / "prometheus"
CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
KEYWORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "le", "bool", "offset"}


def rules(kind: str) -> list[dict]:
    """All recording rules (`record`) or alerts (`alert`)."""
    files = [yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"]: rule for rule in rules("alert")}


@pytest.fixture(scope="module")
def promtool(program) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        done = subprocess.run([str(program("promtool")), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_promtool_takes_the_configuration_with_its_rules_and_has_no_complaint(promtool):
    said = promtool("check", "config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yml"))
    assert f"{len(ALERTS)} rules found" in said


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent_as_their_cases_say(promtool, cases):
    promtool("test", "rules", str(cases))


def test_each_alert_has_a_case_that_fires_and_one_that_does_not():
    asked = [(alert["alertname"], bool(alert["exp_alerts"])) for path in CASES for alert in _alerts_of(path)]
    assert set(asked) == {(name, fires) for name in ALERTS for fires in (True, False)}


def _alerts_of(cases: Path) -> list[dict]:
    return [alert for case in yaml.safe_load(cases.read_text())["tests"] for alert in case["alert_rule_test"]]


def metrics_in(expression: str) -> set[str]:
    """Names of metrics in an expression: what is neither a function, a label, a number nor a word of the language."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|on|without|ignoring)\s*\([^)]*\)', " ", expression)
    words = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", bare)
    return set(words) - KEYWORDS


def exposed() -> set[str]:
    """Names of all series that `/metrics` can have."""
    histograms = [family.name for family in metrics.FAMILIES if family.kind == "histogram"]
    plain = {family.name for family in metrics.FAMILIES if family.kind != "histogram"}
    return plain | {name + end for name in histograms for end in ("_bucket", "_sum", "_count")}


@pytest.mark.parametrize(
    "rule", [*rules("record"), *rules("alert")], ids=lambda rule: rule.get("record") or rule["alert"]
)
def test_rules_ask_for_metrics_that_there_are_by_labels_that_they_have(rule):
    recorded = {each["record"] for each in rules("record")}
    found = metrics_in(rule["expr"])
    assert found
    assert found <= exposed() | recorded, found - exposed() - recorded
    labels = {label for family in metrics.FAMILIES for label in family.labels} | {"le"}
    grouped = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"])
    assert {label.strip() for group in grouped for label in group.split(",")} <= labels


def test_the_reader_of_expressions_finds_metrics_and_nothing_else():
    expression = 'sum by (a, b) (rate(x_total{c="d"}[5m])) / on (a) level:y:sum > 0.5 unless max_over_time(z[1h]) > 1e3'
    assert metrics_in(expression) == {"x_total", "level:y:sum", "z"}


def test_recorded_names_say_level_metric_and_operation():
    for rule in rules("record"):
        assert re.fullmatch(r"[a-z_]+:vdmini_[a-z_]+:[a-z0-9_]+", rule["record"]), rule["record"]


def test_errors_are_exactly_the_kinds_that_are_the_services_fault():
    reasons = re.findall(r'job_failures_total\{reason=~"([^"]+)"', (FOLDER / "rules" / "recording.yml").read_text())
    assert len(reasons) == 5
    assert {frozenset(each.split("|")) for each in reasons} == {frozenset(kind.value for kind in SERVICE_FAULTS)}


def test_the_promise_of_a_minute_is_a_bucket():
    assert 60 in metrics.WAIT_BUCKETS


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_what_and_where_to_read_on(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["for"]
    page, _, anchor = rule["annotations"]["runbook_url"].removeprefix("{{ $externalLabels.docs }}").partition("#")
    headings = re.findall(r"(?m)^#+ (.+)$", (ROOT / page).read_text())
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
