"""The short forms of `make chaos` and `make fuzz`: the same scripts with small numbers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(root: Path, folder: Path, environment: dict[str, str], script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of `scripts/load`; what it found, with what it said where it did not get that far."""
    command = [sys.executable, str(root / "scripts/load" / script), "--output", str(folder / "found.json"), *arguments]
    paths = ":".join(str(root / part) for part in ("model", "compression", "service"))
    variables = environment | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (folder / "found.json").exists(), ended.stdout
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    assert (found["defects"], ended.returncode) == ([], 0)
    return found


def test_generated_and_hostile_requests_do_the_service_no_harm(service, root, untraced, tmp_path):
    found = run(root, tmp_path, untraced, "fuzz.py", "--url", service.url, "--requests", "160")
    assert found["requests"] >= 160
    assert found["hostile"] >= 80
    assert found["generated_by_operation"]["POST /v1/t2v"] > 0
    assert set(found["by_status"]) >= {"200", "404", "422"}


def test_no_job_is_lost_doubled_or_wrong_when_everything_is_killed_once(root, untraced, tmp_path):
    wanted = ("--jobs", "40", "--kills", "4", "--clients", "6", "--workers", "1", "--seconds", "120")
    found = run(root, tmp_path, untraced, "chaos.py", *wanted)
    assert sorted(name.split()[0] for name in found["killed"]) == ["api", "child", "redis", "worker"]
    assert found["accepted_jobs"] == 40
    assert sum(found["outcomes"].values()) >= 40
    assert found["outcomes"]["succeeded"] > 0
