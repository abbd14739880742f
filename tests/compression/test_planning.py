"""The dry run: what it reports, and what it refuses."""

import json

import pytest
import torch

from vdmini_compress.planning import PlanningError, find_subject, plan_report, run_plan
from vdmini_compress.teachers import text_to_video


def test_a_full_size_plan_is_reported_as_a_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run_plan("svd", "paper") == 0
    printed = capsys.readouterr().out
    assert "1,524.6" in printed
    assert "939.9" in printed
    assert "30.97 TFLOP" in printed
    assert "removed: down_blocks.0.resnets.1, down_blocks.1.resnets.1, down_blocks.2.downsamplers.0" in printed


def test_a_report_is_plain_json(capsys):
    assert run_plan("small-t2v", ["mid_block"], width=32, height=32, num_frames=4, as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["width"], report["height"], report["num_frames"]) == (32, 32, 4)
    assert report["removed_blocks"] == ["mid_block"]
    assert report["student"]["stages"]["Mid"] == {"parameters": 0, "flops": 0}
    assert report["student"]["bytes_float16"] == 2 * report["student"]["parameters"]
    assert not report["loads_in_stock_diffusers"]


def test_a_small_teacher_costs_what_its_folder_says(tmp_path):
    text_to_video.build_unet().save_config(tmp_path / "unet")
    text_to_video.build_vae().save_config(tmp_path / "vae")
    by_folder = plan_report(find_subject(str(tmp_path)), "paper", num_frames=8)
    by_name = plan_report(find_subject("small-t2v"), "paper")
    assert by_folder.size == by_name.size
    assert (by_folder.teacher, by_folder.student) == (by_name.teacher, by_name.student)
    assert by_folder.vae_decoder == by_name.vae_decoder


def test_the_folder_of_a_unet_alone_is_enough(tmp_path):
    text_to_video.build_unet().save_config(tmp_path)
    report = plan_report(find_subject(str(tmp_path)), "all-pairs")
    assert report.vae_decoder is None
    assert report.student.size_bytes(torch.float32) == 4 * report.student.parameters


def test_a_pairs_only_svd_student_is_said_to_load_in_stock_diffusers():
    assert plan_report(
        find_subject("small-i2v"), ["down_blocks.0.resnets.1", "up_blocks.3.resnets.1"]
    ).loads_in_stock_diffusers


@pytest.mark.parametrize(
    ("model", "plan", "size", "said"),
    [
        (
            "nothing",
            "paper",
            {},
            "nothing is neither a model's name (svd, videocrafter2, modelscope, small-i2v, small-t2v)",
        ),
        ("small-i2v", "papr", {}, "papr: no preset has this name"),
        ("small-i2v", ["down_blocks.0.resnets.1"], {}, "up_blocks.3.resnets.2: no skip connection would be left"),
        ("small-i2v", "paper", {"width": 30}, "width 30 is not a positive multiple of 8"),
        ("small-i2v", "paper", {"height": 0}, "height 0 is not a positive multiple of 8"),
        ("small-i2v", "paper", {"num_frames": 0}, "num_frames 0 is not positive"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(model, plan, size, said, capsys):
    assert run_plan(model, plan, **size) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a readable JSON file"),
        ("[]", "holds no JSON object"),
        ('{"_class_name": "UNet2DModel"}', "is of class UNet2DModel; known are UNetSpatioTemporalConditionModel"),
    ],
)
def test_a_folder_with_a_config_that_is_no_unet_is_refused(content, said, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(PlanningError, match=said):
        find_subject(str(tmp_path))
