"""checkov finds nothing beside what .checkov.yaml excuses with a reason."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.deploy.kubernetes.conftest import MANIFESTS, ROOT


@pytest.fixture(scope="session")
def checkov() -> Path:
    """It wants versions of libraries that ours do not agree with, so it lives in an environment of its own."""
    found = ROOT / ".checkov" / "bin" / "checkov"
    if not found.is_file():
        pytest.skip("checkov is not installed; scripts/checkov.sh makes its environment")
    return found


def scan(checkov: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [checkov, "--config-file", ROOT / ".checkov.yaml", "--directory", folder, "--output", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)


def test_checkov_finds_only_what_is_excused(checkov: Path, tmp_path: Path) -> None:
    folder = tmp_path / "k8s"
    shutil.copytree(MANIFESTS, folder, ignore=shutil.ignore_patterns("overlays"))
    shutil.copytree(MANIFESTS / "overlays" / "distributed", folder / "distributed")
    (folder / "wrong.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: wrong\nspec:\n"
        "  containers:\n    - name: wrong\n      image: wrong:1\n      securityContext:\n        privileged: true\n"
    )
    done = scan(checkov, folder)
    report = json.loads(done.stdout)
    failed = report["results"]["failed_checks"]
    wrong = {each["check_id"] for each in failed if each["resource"].endswith(".wrong")}
    assert "CKV_K8S_16" in wrong, "a privileged container must be found, or nothing is"
    assert [
        f"{each['resource']}: {each['check_name']}" for each in failed if not each["resource"].endswith(".wrong")
    ] == []
