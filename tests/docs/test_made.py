"""What scripts make of documents is as they would make it now, and the notebook runs."""

import subprocess
import sys

import pytest
from documents import ROOT


@pytest.mark.parametrize("script", ["method_pictures.py", "run_notebook.py"])
def test_a_script_finds_what_it_would_write(script: str, untraced: dict[str, str]) -> None:
    paths = ":".join(str(ROOT / part) for part in ("model", "compression", "service"))
    variables = untraced | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
