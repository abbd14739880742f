"""The run of everything that needs a GPU goes on where it was cut off, and tells what failed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import on_gpu

SAYS = "import json, sys; print('hello'); open(sys.argv[-1], 'w').write(json.dumps({'words': sys.argv[1:-2]}))"


def test_a_measurement_is_kept_and_not_made_again(tmp_path: Path) -> None:
    one = on_gpu.Measurement("words", ("-c", SAYS, "wide"), 30, ("narrow",))
    assert on_gpu.measured(one, tmp_path, rehearse=True).startswith("measured in ")
    record = tmp_path / "words.json"
    assert json.loads(record.read_text()) == {"words": ["wide", "narrow"]}
    assert (tmp_path / "words.log").read_text() == "hello\n"
    record.write_text("kept")
    assert on_gpu.measured(one, tmp_path, rehearse=False) == "was there"
    assert record.read_text() == "kept"


def test_one_that_fails_or_takes_too_long_leaves_no_record(tmp_path: Path) -> None:
    wrong = on_gpu.Measurement("wrong", ("-c", SAYS + "; sys.exit(3)"), 30, ())
    assert on_gpu.measured(wrong, tmp_path, rehearse=False).startswith("failed: exit code 3; see ")
    slow = on_gpu.Measurement("slow", ("-c", "import time; time.sleep(60)"), 1, ())
    assert on_gpu.measured(slow, tmp_path, rehearse=False).startswith("failed: stopped after 1 s; see ")
    assert not list(tmp_path.glob("*.json"))


def test_every_script_and_recipe_that_is_asked_for_exists(root: Path) -> None:
    words = [word for one in on_gpu.MEASUREMENTS for word in one.words if word.endswith((".py", ".yaml"))]
    assert len(words) > len(on_gpu.MEASUREMENTS)
    assert [word for word in words if not (root / word).is_file()] == []


def test_without_a_gpu_it_says_what_can_be_done(root: Path, tmp_path: Path) -> None:
    words = [sys.executable, "benchmarks/on_gpu.py", "--output", str(tmp_path / "none")]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(words, cwd=root, env=hidden, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "no GPU was found; --rehearse runs narrow models on the CPU" in ran.stderr
    assert not (tmp_path / "none").exists()
