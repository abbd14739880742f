"""What switching a block off loses and saves is measured, printed and drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vdmini.engine import Engine
from vdmini_compress import blocks, importance, importance_plot
from vdmini_compress.cli import main
from vdmini_compress.importance import ImportanceReport
from vdmini_compress.material import sample_input
from vdmini_compress.yardstick import SmallWorldYardstick

SHOWN = {"i2v": ("D0 pair 0", "innermost stage"), "t2v": ("D2 temporal", "innermost stage")}


@pytest.fixture(scope="module")
def report(teacher_engine: Engine, task: str) -> ImportanceReport:
    picked = [b for b in blocks.blocks_of(teacher_engine.pipeline.unet) if b.label in SHOWN[task]]
    yardstick = SmallWorldYardstick(teacher_engine, clips=2, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "LEAST_RUNS", 10)
        sample = sample_input(teacher_engine)
        return importance.analyze(teacher_engine, picked, sample, yardstick, runs=10, say=lambda _: None)


def test_losing_a_block_of_the_trained_path_hurts(report: ImportanceReport, task: str) -> None:
    shown = {block.label: block for block in report.blocks}
    assert tuple(shown) == SHOWN[task]
    hurt = shown[SHOWN[task][0]]
    assert hurt.content_lost > 0.01 or hurt.motion_lost > 1
    assert 0 < report.motion_error < 2


def test_what_a_block_saves_is_measured_with_an_interval(report: ImportanceReport) -> None:
    inner = report.blocks[-1]
    low, high = inner.seconds_saved_interval
    assert low <= inner.seconds_saved <= high
    assert 0 < inner.seconds_saved < report.forward_seconds


def test_a_report_says_what_was_measured_and_one_from_before_it_did_reads_alike(report: ImportanceReport) -> None:
    assert (report.content.name, report.motion.label) == ("appearance_error", "trajectory error (pixels)")
    assert (report.data, report.clips, report.seed, report.fvd) == ("the small world", 2, 0, None)
    old = report.model_dump(mode="json", exclude={"data": True, "content": True, "motion": True, "fvd": True})
    for block in old["blocks"]:
        del block["fvd_lost"]
    assert ImportanceReport.model_validate_json(json.dumps(old)) == report


def test_the_picture_has_two_panels_and_every_kind_of_block(report: ImportanceReport, tmp_path: Path) -> None:
    importance_plot.draw(report, tmp_path / "importance.png")
    with Image.open(tmp_path / "importance.png") as picture:
        assert picture.width > 1.5 * picture.height
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 100


def test_depth_is_counted_from_the_outermost_stage(report: ImportanceReport) -> None:
    named = {"down_blocks.3": 3, "mid_block": 3, "up_blocks.0.resnets.2": 3, "up_blocks.3": 0, "down_blocks.1": 1}
    for name, depth in named.items():
        block = report.blocks[0].model_copy(update={"name": name})
        assert importance_plot.depth_of(block, innermost=3) == depth


def test_too_few_runs_are_refused_before_any_work(teacher_engine: Engine) -> None:
    yardstick = SmallWorldYardstick(teacher_engine, clips=4, seed=0)
    with pytest.raises(ValueError, match="3 timed passes per block are too few; give at least 20"):
        importance.analyze(teacher_engine, [], {}, yardstick, runs=3, say=lambda _: None)


def test_the_command_writes_json_and_a_picture_of_the_small_world(
    report: ImportanceReport,
    teacher_folder: Path,
    teacher_engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: list[Any] = []

    def analyzed(*arguments: Any, **options: Any) -> ImportanceReport:
        given.extend([*arguments, options])
        return report

    # measuring once more would take long; `test_video_yardstick` runs the whole command
    monkeypatch.setattr(importance, "analyze", analyzed)
    monkeypatch.setattr("vdmini.engine.load_engine", lambda folder: teacher_engine)
    command = ["analyze", str(teacher_folder), "--output", str(tmp_path), "--clips", "4", "--seed", "3", "--json"]
    assert main(command) == 0
    engine, everything, sample, yardstick, options = given
    assert engine is teacher_engine
    assert everything == blocks.blocks_of(teacher_engine.pipeline.unet)
    assert set(sample) <= {"image", "prompt", "motion_bucket_id"}
    assert yardstick == SmallWorldYardstick(teacher_engine, clips=4, seed=3)
    assert options["runs"] == 20
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "importance.json").read_text())
    assert "innermost stage" in printed.err
    assert "motion: trajectory error (pixels)" in printed.err
    assert (tmp_path / "importance.png").stat().st_size > 10_000
