"""Dashboards and panels against Grafana's own types, installed by npm and turned into a JSON Schema."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

TYPES = Path(__file__).parent / "grafana_types"
DASHBOARDS = sorted((Path(__file__).resolve().parents[3] / "docker" / "grafana" / "dashboards").glob("*.json"))


@pytest.fixture(scope="module")
def wrong(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], list[str]]:
    """What Grafana's types of a name in `kinds.ts` say against a value."""
    folder = tmp_path_factory.mktemp("grafana")
    for name in ("package.json", "kinds.ts"):
        shutil.copy(TYPES / name, folder)
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--no-package-lock")
    _run(folder, str(program("npm")), "install", *quiet)
    shutil.copytree(folder / "node_modules/@grafana/schema/dist/types/raw", folder / "raw")
    generator = "node_modules/.bin/ts-json-schema-generator"
    plain = ("--no-type-check", "--jsDoc", "none", "--expose", "none")
    kinds = json.loads(_run(folder, generator, *plain, "--path", "kinds.ts", "--type", "Kinds"))["definitions"]["Kinds"]
    validators = {name: jsonschema_rs.validator_for(schema) for name, schema in kinds["properties"].items()}

    def find(kind: str, value: Any) -> list[str]:
        return [f"{kind} {list(each.instance_path)}: {each.message}" for each in validators[kind].iter_errors(value)]

    return find


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_and_its_panels_fit_grafanas_types(path, wrong):
    dashboard = json.loads(path.read_text())
    found = wrong("dashboard", dashboard | {"panels": []})
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            found += wrong("row", panel)
            continue
        found += wrong("panel", panel) + wrong(panel["type"], panel["options"])
        if panel["type"] != "stat":
            found += wrong(f"{panel['type']}Fields", panel["fieldConfig"]["defaults"]["custom"])
    assert found == []


def test_a_wrong_dashboard_does_not_fit(wrong):
    panel = next(each for each in json.loads(DASHBOARDS[0].read_text())["panels"] if each["type"] == "stat")
    assert wrong("panel", panel | {"gridPos": {"w": "12"}})
    assert wrong("panel", panel | {"titel": "misspelt"})
    assert wrong("stat", panel["options"] | {"colorMode": "loud"})
