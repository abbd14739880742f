"""Blocks measured on real videos: what the distances see, which videos are taken, and the whole command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vdmini.engine import Engine, load_engine
from vdmini.video import write_mp4
from vdmini_compress import blocks, importance, importance_plot
from vdmini_compress.budget import Budget, search
from vdmini_compress.cli import main
from vdmini_compress.importance import ImportanceReport, read_report
from vdmini_compress.suites.comparison import Instruments
from vdmini_compress.suites.features import I3D, LatentFrames
from vdmini_compress.suites.motion import LEAST_TOLD, log_scores
from vdmini_compress.suites.video_yardstick import VideoYardstick, distances, shrunk, video_yardstick
from vdmini_compress.units import UnitCosts, units_of
from vdmini_compress.videos.settings import Videos
from vdmini_compress.videos.sources import list_films
from vdmini_compress.world import clips

CLIPS = 6
LABEL = "D0 pair 0"


class StandIn(nn.Module):
    """Called as the public I3D file is; a few means of a clip's colours come out."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return torch.cat([x.mean(dim=(3, 4)).flatten(1), x.std(dim=(2, 3, 4))], dim=1)


@pytest.fixture(scope="module")
def i2v(root: Path) -> Engine:
    return load_engine(root / "compression/teachers/small-i2v", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i3d") / "i3d_torchscript.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        torch.jit.script(StandIn()).save(str(path))
    return path


@pytest.fixture(scope="module")
def instruments(i2v: Engine, i3d_file: Path) -> Instruments:
    return Instruments(i3d=I3D(i3d_file, device=i2v.torch_device), frames=LatentFrames(i2v))


@pytest.fixture(scope="module")
def real() -> Tensor:
    return clips.image_clips(CLIPS, 0, torch.Generator().manual_seed(5)).frames_BF3HW


def film(folder: Path, clips_NF3HW: Tensor, *, fps: int) -> None:
    for index, clip in enumerate(clips_NF3HW):
        write_mp4((clip.permute(0, 2, 3, 1) * 255).byte().numpy(), folder / f"{index}.mp4", fps=fps)


@pytest.fixture(scope="module")
def videos(real: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos that are long enough and one that is not."""
    folder = tmp_path_factory.mktemp("home") / "holidays"
    folder.mkdir()
    film(folder, real, fps=7)
    write_mp4(np.zeros((3, 64, 64, 3), np.uint8), folder / "short.mp4", fps=7)
    return folder


def read(engine: Engine, folder: Path, instruments: Instruments, count: int = CLIPS) -> VideoYardstick:
    listing, options = list_films(Videos(source="folder", path=folder)), {"seed": 0, "say": lambda _: None}
    return video_yardstick(engine, listing, data=folder.name, instruments=instruments, clips=count, **options)


@pytest.fixture(scope="module")
def yardstick(i2v: Engine, videos: Path, instruments: Instruments) -> VideoYardstick:
    return read(i2v, videos, instruments)


def test_real_videos_are_no_distance_from_themselves_and_hardly_any_from_what_was_filmed(
    yardstick: VideoYardstick, instruments: Instruments, real: Tensor
) -> None:
    none, little = distances(yardstick.real, yardstick.real), distances(instruments.measure(real), yardstick.real)
    assert (none.content, none.motion, none.fvd) == pytest.approx((0, 0, 0), abs=1e-6)
    noisy = distances(instruments.measure((real + 0.2 * torch.rand(real.shape)).clamp(0, 1)), yardstick.real)
    assert little.content < 0.1 * noisy.content
    assert little.motion < 0.1 * noisy.motion


def test_content_and_motion_are_told_apart(yardstick: VideoYardstick, instruments: Instruments, real: Tensor) -> None:
    still = distances(instruments.measure(real[:, :1].expand_as(real)), yardstick.real)
    recoloured = distances(instruments.measure(1 - real), yardstick.real)
    assert recoloured.content > 5 * still.content
    assert still.motion > 5 * recoloured.motion


def test_a_factor_of_motion_counts_alike_at_any_speed() -> None:
    scores = {name: torch.tensor([0.1, 1.0, 10.0]) + 100 for name in LEAST_TOLD} | {"still": torch.zeros(3)}
    gap = log_scores({name: 2 * values for name, values in scores.items()}) - log_scores(scores)
    assert gap.shape == (3, len(LEAST_TOLD))
    np.testing.assert_allclose(gap, np.log(2), atol=0.01)
    assert np.isfinite(log_scores({name: torch.zeros(1) for name in scores})).all()


def test_large_clips_are_compared_at_a_smaller_size_of_the_same_shape(real: Tensor) -> None:
    assert shrunk(torch.zeros(2, 3, 576, 1024)).shape == (2, 3, 256, 456)
    small = real[0]
    assert shrunk(small) is small


def test_first_frames_are_the_condition_and_more_clips_keep_those_of_fewer(
    i2v: Engine, yardstick: VideoYardstick, real: Tensor
) -> None:
    made = yardstick._made(0)
    assert made.shape == real[0].shape
    shown = torch.from_numpy(np.array(yardstick.conditions[0]["image"])).permute(2, 0, 1) / 255
    assert min((shown - clip[0]).abs().mean() for clip in real) < 0.03
    assert (made[0] - shown).abs().mean() < 0.05


def test_folders_that_give_no_distance_are_refused(i2v: Engine, videos: Path, instruments: Instruments) -> None:
    with pytest.raises(ValueError, match="9 clips of 7 usable videos; give at least 6, which"):
        read(i2v, videos, instruments, 9)
    with pytest.raises(ValueError, match="5 clips of 7 usable videos; give at least 6, which"):
        read(i2v, videos, instruments, 5)
    with pytest.raises(ValueError, match=r"only 6 of the 7 clips could be had, 1 skipped: 1 too short \(short\.mp4\)"):
        read(i2v, videos, instruments, 7)


def test_a_text_to_video_model_is_given_captions_and_asks_for_them(root: Path, real: Tensor, tmp_path: Path) -> None:
    t2v = load_engine(root / "compression/teachers/small-t2v", device="cpu", dtype="float32")
    frames = Instruments(i3d=None, frames=LatentFrames(t2v))
    film(tmp_path, real, fps=t2v.manifest.defaults.fps)
    with pytest.raises(
        ValueError, match=r"small-t2v-teacher makes videos from text, and none of 6 videos has a caption"
    ):
        read(t2v, tmp_path, frames)
    told = [{"file": f"{k}.mp4", "caption": f"a red square moving {k}"} for k in range(CLIPS)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, told)))
    captioned = read(t2v, tmp_path, frames)
    assert {condition["prompt"] for condition in captioned.conditions} == {row["caption"] for row in told}
    assert captioned._made(0).shape == (8, 3, 64, 64)
    assert distances(captioned.real, captioned.real).fvd is None


@pytest.fixture(scope="module")
def output(i2v: Engine, root: Path, videos: Path, i3d_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for one block of the small image-to-video teacher."""
    folder, everything, timed = tmp_path_factory.mktemp("importance"), blocks.blocks_of, importance._timed_pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "blocks_of", lambda unet: [b for b in everything(unet) if b.label == LABEL])
        patch.setattr("vdmini.engine.load_engine", lambda _: i2v)
        # `test_importance` is about time
        patch.setattr(importance, "_timed_pairs", lambda unet, block, forward, _: timed(unet, block, forward, 3))
        teacher = str(root / "compression/teachers/small-i2v")
        options = ["--videos", str(videos), "--i3d", str(i3d_file), "--clips", str(CLIPS)]
        assert main(["analyze", teacher, "--output", str(folder), *options]) == 0
    return folder


def test_a_block_that_is_off_costs_content_and_fvd_and_nothing_once_it_is_on_again(
    output: Path, yardstick: VideoYardstick
) -> None:
    report = ImportanceReport.model_validate_json((output / "importance.json").read_text())
    (block,) = report.blocks
    assert block.label == LABEL
    assert block.content_lost > 0.1 * report.content_error > 0
    assert abs(block.motion_lost) > 0.01 * report.motion_error > 0
    assert block.fvd_lost is not None
    assert block.fvd_lost > 0
    again = yardstick.read()
    whole = (report.content_error, report.motion_error, report.fvd)
    assert (again.content, again.motion, again.fvd) == pytest.approx(whole, rel=1e-4)


def test_report_picture_and_json_name_the_measures(output: Path) -> None:
    path = output / "importance.json"
    report = ImportanceReport.model_validate_json(path.read_text())
    assert (report.data, report.clips) == ("holidays", CLIPS)
    assert (report.content.name, report.motion.name) == ("frame_distance", "motion_distance")
    assert report.model_dump(mode="json") == json.loads(path.read_text())
    labels = [label for _, label, _ in importance_plot._measures(report)]
    assert labels == [f"added {report.content.label}", f"added {report.motion.label}", "added Fréchet video distance"]
    assert "latent units squared" in labels[0]
    assert (output / "importance.png").stat().st_size > 10_000


def test_a_budget_is_searched_in_what_videos_told(output: Path, i2v: Engine, tmp_path: Path) -> None:
    report, unet = read_report(output / "importance.json", i2v.manifest.teacher), i2v.pipeline.unet
    shares = {"content_lost": 0.01 * report.content_error, "motion_lost": 0.02 * report.motion_error}
    cheap = {**shares, "seconds_saved": 0.04 * report.forward_seconds}
    rows = [
        report.blocks[0].model_copy(update={"name": block.name, "kind": block.kind, **cheap})
        for block in blocks.blocks_of(unet)
        if block.name != report.blocks[0].name
    ]
    path = tmp_path / "importance.json"
    path.write_text(report.model_copy(update={"blocks": (*report.blocks, *rows)}).model_dump_json())
    costs = UnitCosts(100, 100, dict.fromkeys(units_of(unet), (1, 1)))
    found = search(read_report(path, i2v.manifest.teacher), unet, costs, Budget("latency", 0.9))
    assert found.left["latency"] <= 0.9
    assert 0 < found.lost == pytest.approx(0.03 * (1 - found.left["latency"]) / 0.04)
    assert not found.plan.removes(report.blocks[0].name)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--i3d", "i3d.pt"], "--i3d belongs to real videos; give their folder with --videos"),
        (["--videos", "nowhere"], "nowhere is not a folder; give the folder that holds the videos"),
        (["--videos", ".", "--i3d", "gone.pt"], "no file gone.pt; FVD needs i3d_torchscript.pt"),
    ],
)
def test_what_is_missing_is_asked_for(
    options: list[str],
    complaint: str,
    i2v: Engine,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loaded(_: Any) -> Engine:
        return i2v

    monkeypatch.setattr("vdmini.engine.load_engine", loaded)
    monkeypatch.chdir(videos)
    assert main(["analyze", "teacher", "--output", "out", *options]) == 1
    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()
