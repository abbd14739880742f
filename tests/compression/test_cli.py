"""The command line: help a newcomer can follow, JSON a program can read, errors in one line."""

import json
from pathlib import Path

import pytest
from torch import distributed

from vdmini_compress.cli import main
from vdmini_compress.latency import interval


@pytest.mark.parametrize("command", [[], ["run"], ["plan"], ["analyze"], ["evaluate"], ["train-teacher"]])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: vdmini-compress" in capsys.readouterr().out


def test_evaluate_prints_the_scores_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(root / "compression/artifacts/small-i2v"), "--clips", "4", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measures"]
    low, high = measured["trajectory_error_px"]["interval"]
    assert 0 <= low <= measured["trajectory_error_px"]["value"] <= high


def test_evaluate_prints_a_table_for_people(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(root / "compression/artifacts/small-t2v"), "--clips", "4"]) == 0
    assert "clip_psnr_db" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "plan"])
def test_a_folder_that_is_not_there_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "/nowhere"]) != 0
    printed = capsys.readouterr().err
    assert "/nowhere" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["evaluate", "x", "--clips", "0"], "argument --clips: 0 is too small; give 4 or more"),
        (["evaluate", "x", "--clips", "many"], "argument --clips: invalid whole number value: 'many'"),
        (["evaluate", "x", "--seed", "-1"], "argument --seed: -1 is too small; give 0 or more"),
        (["analyze", "x", "--output", "y", "--runs", "3"], "argument --runs: 3 is too small; give 20 or more"),
        (["plan", "svd", "--width", "0"], "argument --width: 0 is too small; give 1 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_interval_of_equal_ratios_is_a_point_and_of_others_holds_the_median() -> None:
    assert interval([1.5] * 20) == (1.5, 1.5)
    low, high = interval([1 + 0.01 * n for n in range(21)])
    assert low < 1.1 < high


def test_a_command_that_ends_leaves_the_processes_that_it_joined(capsys: pytest.CaptureFixture[str]) -> None:
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    try:
        assert main(["plan", "svd", "--json"]) == 0
        assert not distributed.is_initialized()
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
    assert json.loads(capsys.readouterr().out)
