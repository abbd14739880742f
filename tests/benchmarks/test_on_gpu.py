"""The run of everything that needs a GPU goes on where it was cut off, and tells what failed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

SAYS = "import json, sys; print('hello'); open(sys.argv[-1], 'w').write(json.dumps({'words': sys.argv[1:-2]}))"


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_gpu", root / "benchmarks/on_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["on_gpu"] = made
    spec.loader.exec_module(made)
    return made


def test_a_measurement_is_kept_and_not_made_again(script: ModuleType, tmp_path: Path) -> None:
    one = script.Measurement("words", ("-c", SAYS, "wide"), 30, ("narrow",))
    assert script.measured(one, tmp_path, rehearse=True).startswith("measured in ")
    record = tmp_path / "words.json"
    assert json.loads(record.read_text()) == {"words": ["wide", "narrow"]}
    assert (tmp_path / "words.log").read_text() == "hello\n"
    record.write_text("kept")
    assert script.measured(one, tmp_path, rehearse=False) == "was there"
    assert record.read_text() == "kept"


def test_one_that_fails_or_takes_too_long_leaves_no_record(script: ModuleType, tmp_path: Path) -> None:
    wrong = script.Measurement("wrong", ("-c", SAYS + "; sys.exit(3)"), 30, ())
    assert script.measured(wrong, tmp_path, rehearse=False).startswith("failed: exit code 3; see ")
    slow = script.Measurement("slow", ("-c", "import time; time.sleep(60)"), 1, ())
    assert script.measured(slow, tmp_path, rehearse=False).startswith("failed: stopped after 1 s; see ")
    assert not list(tmp_path.glob("*.json"))


def test_every_script_and_recipe_that_is_asked_for_exists(script: ModuleType, root: Path) -> None:
    words = [word for one in script.MEASUREMENTS for word in one.words if word.endswith((".py", ".yaml"))]
    assert len(words) > len(script.MEASUREMENTS)
    assert [word for word in words if not (root / word).is_file()] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_can_be_done(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "benchmarks/on_gpu.py", "--output", str(tmp_path / "none")]
    ran = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "no GPU was found; --rehearse runs narrow models on the CPU" in ran.stderr
    assert not (tmp_path / "none").exists()
