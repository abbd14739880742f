"""The tutorial docs/first-teacher.md, carried out: its commands with small numbers, its Python as it is."""

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from documents import commands, snippets
from PIL import Image

from vdmini.artifact import verify
from vdmini.engine import quiet_libraries
from vdmini_compress import importance
from vdmini_compress import job as jobs
from vdmini_compress.cli import main
from vdmini_compress.importance import ImportanceReport

PAGE = "docs/first-teacher.md"
RECORDED = "benchmarks/results/2026-11-26-small-i2v-finished-importance-seed-0.json"
CHEAPER = {
    "run": ["--set", "distill.steps=2", "--set", "data.clips=8", "--set", "evaluate.clips=4"],
    "bench": ["--runs", "2"],
}
"""What is added to a command, so that it takes seconds."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def carried_out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Where the commands ran, and what each of them told."""
    place, told = tmp_path_factory.mktemp("tutorial"), {}
    for part in ("compression/recipes", "compression/teachers/small-i2v"):
        shutil.copytree(root / part, place / part)
    known = verify(root / "compression/artifacts/small-i2v").latency[0]
    recorded = ImportanceReport.model_validate_json((root / RECORDED).read_text())
    quiet_libraries()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        # Both take minutes. `test_video_yardstick` analyzes with the whole command, `test_job` measures latency.
        patch.setattr(importance, "analyze", lambda *_, **__: recorded)
        patch.setattr(jobs.latency, "measure", lambda *_, **__: known)
        for where in ("measure", "command"):
            patch.setattr(f"vdmini_compress.bench.{where}.LEAST_RUNS", 2)
        patch.setattr("vdmini_compress.bench.measure.WARM_UP", 1)
        for command in commands(PAGE):
            program, *words = command.words
            if command.runs and program == "vdmini-compress":
                with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as error:
                    assert main(words + CHEAPER.get(words[0], [])) == 0, error.getvalue()
                told[words[0]] = out.getvalue() + error.getvalue()
    return place, told


def test_the_plan_prints_what_the_page_says(carried_out: tuple[Path, dict[str, str]]) -> None:
    assert "3.850 │ 2.411 │  1.93 GFLOP │  1.19 GFLOP" in carried_out[1]["plan"]


def test_the_budget_takes_what_the_teacher_does_not_use(carried_out: tuple[Path, dict[str, str]]) -> None:
    place, told = carried_out
    assert "mid_block" in told["prune"]
    removed = verify(place / "runs/first/vdmini").removed_blocks
    assert {"mid_block", "up_blocks.0", "down_blocks.3"} <= set(removed)
    assert not any(name.startswith(("down_blocks.0", "up_blocks.3")) for name in removed)


def test_the_report_has_the_sections_that_the_page_tells_of(
    root: Path, carried_out: tuple[Path, dict[str, str]]
) -> None:
    report = (carried_out[0] / "runs/first/vdmini/report.html").read_text()
    page = (root / PAGE).read_text()
    for section in ("The same input, both models", "Latency by stage", "Quality", "What was removed"):
        assert section in report
        assert f"**{section}**" in page


def test_the_bench_compares_student_teacher_and_plain_diffusers(carried_out: tuple[Path, dict[str, str]]) -> None:
    found = json.loads((carried_out[0] / "runs/first/bench/bench.json").read_text())["contenders"]
    assert {"stock", "teacher", "vdmini"} <= set(found)


def test_the_python_of_the_page_makes_a_clip(
    carried_out: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (snippet,) = snippets(PAGE)
    monkeypatch.chdir(carried_out[0])
    left: dict[str, Any] = {}
    exec(compile(snippet.text, PAGE, "exec"), left)
    assert [frame.size for frame in left["frames"]] == [(64, 64)] * 8
    with Image.open("runs/first/first.png") as saved:
        assert saved.convert("L").getextrema()[1] > 0
