"""The suites: motion against known answers, and whole runs of the small teachers."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from vdmini.engine import Engine, load_engine
from vdmini.video import write_mp4
from vdmini_compress.suites import command, motion, ucf101, vbench, vbench_scores
from vdmini_compress.suites.comparison import MEASURES, Instruments, compare, joined
from vdmini_compress.suites.features import I3D, LatentFrames
from vdmini_compress.suites.intervals import mean_interval
from vdmini_compress.suites.output import ClipFolder, check_name, read_mp4
from vdmini_compress.suites.real_videos import FolderClips
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.world import clips
from vdmini_compress.world.captions import all_scenes

CPU = torch.device("cpu")


def drifting(right: int, down: int, *, size: int = 64, frames: int = 5) -> Tensor:
    """A clip [1, F, 3, S, S] of a texture under a window that moves so many pixels per frame the other way."""
    generator = torch.Generator().manual_seed(0)
    room = 10 * frames
    rough = torch.rand((1, 3, (size + 2 * room) // 2, (size + 2 * room) // 2), generator=generator)
    texture = nn.functional.interpolate(rough, scale_factor=2, mode="bilinear")[0]
    starts = [(room - down * f, room - right * f) for f in range(frames)]
    return torch.stack([texture[:, y : y + size, x : x + size] for y, x in starts])[None]


class TestMotion:
    @pytest.mark.parametrize(("right", "down"), [(0, 0), (1, 0), (0, -3), (3, 4), (-6, 8)])
    def test_a_known_shift_is_the_flow(self, right: int, down: int) -> None:
        length = (right**2 + down**2) ** 0.5
        flow = motion.flow(drifting(right, down))
        assert flow.shape == (1, 4, 6, 6)
        torch.testing.assert_close(flow, torch.full_like(flow, length))

    def test_flow_of_a_large_picture_is_told_in_its_own_pixels(self) -> None:
        scores = motion.motion_scores(drifting(9, 12, size=384, frames=3))
        assert scores["flow_px"].item() == pytest.approx(15, rel=1e-3)

    def test_only_what_moves_counts_for_the_fastest_blocks(self) -> None:
        clip = drifting(0, 0, size=80).clone()
        clip[..., 16:64, 16:32] = drifting(0, 4, size=80)[..., 16:64, 16:32]
        scores = motion.motion_scores(clip)
        assert scores["fast_flow_px"].item() == pytest.approx(4, abs=0.5)
        assert 0.3 < scores["flow_px"].item() < 1.5

    def test_a_still_clip_is_still_and_neither_moves_nor_flickers(self) -> None:
        scores = {name: score.item() for name, score in motion.motion_scores(drifting(0, 0)).items()}
        assert scores.pop("still") == 1
        assert set(scores.values()) == {0.0}

    def test_flicker_is_what_the_next_frame_takes_back(self) -> None:
        steady = torch.linspace(0, 0.8, 5)[None, :, None, None, None].expand(1, 5, 3, 32, 32)
        nervous = torch.tensor([0.2, 0.6, 0.2, 0.6, 0.2])[None, :, None, None, None].expand(1, 5, 3, 32, 32)
        scores = motion.motion_scores(torch.cat([steady, nervous]))
        torch.testing.assert_close(scores["flicker"], torch.tensor([0.0, 0.4]))
        torch.testing.assert_close(scores["change"], torch.tensor([0.2, 0.4]))
        torch.testing.assert_close(scores["change_spread"], torch.zeros(2))

    def test_a_jerk_spreads_the_change_over_time(self) -> None:
        clip = torch.tensor([0.0, 0.0, 0.8, 0.8])[None, :, None, None, None].expand(1, 4, 3, 32, 32)
        scores = motion.motion_scores(clip)
        assert scores["still"].item() == pytest.approx(2 / 3)
        assert scores["change_spread"].item() == pytest.approx(0.8 * 2**0.5 / 3)

    def test_clips_that_cannot_be_measured_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"needs \[N, F, 3, H, W\] with F at least 3"):
            motion.motion_scores(torch.zeros(1, 2, 3, 64, 64))
        with pytest.raises(ValueError, match="frames of 16x16; flow needs at least 24 pixels"):
            motion.motion_scores(torch.zeros(1, 3, 3, 16, 16))


class StandIn(nn.Module):
    """Called as the public I3D file is: colours 0..255 in, a few means out."""

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if not (rescale and resize and return_features):
            raise ValueError("called without its options")
        if x.shape[2] < 4:
            raise ValueError("too few frames for its strides")
        x = x / 127.5 - 1
        return torch.cat([x.mean(dim=(2, 3, 4)), x.std(dim=(2, 3, 4)), x[:, :, 0].mean(dim=(2, 3))], dim=1)


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Unfinished(nn.Module):
    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return x


def scripted(module: nn.Module, path: Path) -> Path:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted(StandIn(), tmp_path_factory.mktemp("i3d") / "i3d_torchscript.pt")


class TestI3D:
    def test_the_network_gets_colours_up_to_255_and_all_its_options(self, i3d_file: Path) -> None:
        features = I3D(i3d_file, device=CPU)(torch.ones(2, 8, 3, 16, 16))
        assert features.dtype == np.float64
        np.testing.assert_allclose(features, np.tile([1, 1, 1, 0, 0, 0, 1, 1, 1], (2, 1)), atol=1e-6)

    def test_a_missing_file_says_where_it_comes_from(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no file .*nowhere\.pt; FVD needs i3d_torchscript\.pt.*StyleGAN-V"):
            I3D(tmp_path / "nowhere.pt", device=CPU)

    def test_a_broken_file_is_told_from_a_network(self, tmp_path: Path) -> None:
        path = tmp_path / "half.pt"
        path.write_bytes(b"<html>quota exceeded</html>")
        with pytest.raises(ValueError, match=r"half\.pt is not a whole TorchScript file; FVD needs"):
            I3D(path, device=CPU)

    def test_another_network_is_refused_at_once(self, tmp_path: Path) -> None:
        path = scripted(Plain(), tmp_path / "plain.pt")
        with pytest.raises(ValueError, match="takes no rescale, resize, return_features"):
            I3D(path, device=CPU)

    def test_clips_that_the_network_refuses_are_named(self, i3d_file: Path) -> None:
        with pytest.raises(ValueError, match=r"\(1, 3, 3, 16, 16\): .*too few frames.*ten frames or more"):
            I3D(i3d_file, device=CPU)(torch.ones(1, 3, 3, 16, 16))

    def test_an_output_of_another_form_is_refused(self, tmp_path: Path) -> None:
        path = scripted(Unfinished(), tmp_path / "unfinished.pt")
        with pytest.raises(ValueError, match=r"returned \(1, 3, 8, 16, 16\) for 1 clips, not \[N, D\]"):
            I3D(path, device=CPU)(torch.ones(1, 8, 3, 16, 16))


@pytest.fixture(scope="module")
def i2v(root: Path) -> Engine:
    return load_engine(root / "compression/teachers/small-i2v", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def t2v(root: Path) -> Engine:
    return load_engine(root / "compression/teachers/small-t2v", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def instruments(i2v: Engine, i3d_file: Path) -> Instruments:
    return Instruments(i3d=I3D(i3d_file, device=CPU), frames=LatentFrames(i2v))


@dataclass
class Memory:
    """Real clips that are held in memory; None stands for a video that is too short."""

    clips: list[Tensor | None]

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int) -> Tensor | None:
        return self.clips[index]


@pytest.fixture(scope="module")
def real(i2v: Engine) -> Memory:
    made = clips.image_clips(3, 0, torch.Generator().manual_seed(5)).frames_BF3HW
    return Memory([made[0], None, made[1], made[2]])


@pytest.fixture(scope="module")
def videos(real: Memory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two videos that are long enough and one that is not."""
    folder = tmp_path_factory.mktemp("videos")
    for name, clip in zip(("a/one", "b/two"), (real.clips[0], real.clips[2]), strict=True):
        assert clip is not None
        (folder / name).parent.mkdir()
        write_mp4((clip.permute(0, 2, 3, 1) * 255).byte().numpy(), folder / f"{name}.mp4", fps=7)
    write_mp4(np.zeros((3, 64, 64, 3), np.uint8), folder / "short.mp4", fps=7)
    return folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where clips of seed 1 from `real` stay from test to test."""
    return tmp_path_factory.mktemp("ucf101")


def no_generation(*_: object, **__: object) -> None:
    raise AssertionError("a clip that is there was made again")


class TestComparison:
    def test_the_teachers_encoder_describes_frames_wherever_things_are(self, i2v: Engine, real: Memory) -> None:
        frames = LatentFrames(i2v)
        clip = real.clips[0]
        assert clip is not None
        features = frames(torch.stack([clip, clip.flip(-1)]))
        channels = 16
        assert features.shape == (2, 8, channels + channels * (channels + 1) // 2)
        assert features.dtype == np.float64
        other = real.clips[3]
        assert other is not None
        mirrored = np.abs(features[0] - features[1]).mean()
        assert mirrored < np.abs(features[0] - frames(other[None])[0]).mean()

    def test_sets_measured_in_parts_compare_as_in_one(self, instruments: Instruments) -> None:
        both = torch.cat([drifting(2, 0, frames=8), drifting(0, 3, frames=8)])
        whole, parts = instruments.measure(both), joined([instruments.measure(clip[None]) for clip in both])
        assert compare(parts, whole, seed=0)["fvd"].value == pytest.approx(0, abs=1e-9)
        found = compare(parts, instruments.measure(0.5 * both), seed=0)
        assert set(found) == set(MEASURES)
        assert found["fvd"].value > 0.01
        assert found["frame_distance"].value > 0.01
        assert found["flow_px"].value == pytest.approx(found["flow_px_real"].value) == pytest.approx(2.5)


class TestUcf101:
    def test_a_model_is_compared_from_first_frames_and_a_second_run_makes_nothing(
        self, i2v: Engine, instruments: Instruments, real: Memory, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {"instruments": instruments, "count": 2, "seed": 1, "output": clip_folder, "say": lambda _: None}
        report = ucf101.evaluate(i2v, real, **options)
        assert set(report.measures) == set(MEASURES)
        assert (report.videos, report.num_frames, report.fps) == (2, 8, 7)
        assert report.measures["fvd"].value > 0
        assert any("the papers' clips have 14 frames" in note for note in report.notes)
        made = sorted((clip_folder / "videos").iterdir())
        assert {path.suffix for path in made} == {".mp4"}
        assert read_mp4(made[0]).shape == (8, 3, 64, 64)
        monkeypatch.setattr(i2v, "generate", no_generation)
        assert ucf101.evaluate(i2v, real, **options) == report
        with pytest.raises(ValueError, match="holds clips of another model, suite, seed or setting"):
            ucf101.evaluate(i2v, real, **options | {"seed": 2})

    def test_generated_clips_begin_with_the_real_ones_and_videos_without_a_clip_are_passed_over(
        self, i2v: Engine, real: Memory, clip_folder: Path
    ) -> None:
        folder = ClipFolder(clip_folder, i2v, suite="ucf101", seed=1, settings=ucf101.protocol_settings(i2v))
        pairs = list(ucf101._pairs(folder, real, 1))
        assert len(pairs) == 3
        for made, true in pairs:
            assert (made[0] - true[0]).abs().mean() < 0.05

    def test_clips_are_compared_at_the_real_ones_size(self, i2v: Engine, real: Memory, tmp_path: Path) -> None:
        large = nn.functional.interpolate(real.clips[0], size=(48, 96))
        folder = ClipFolder(tmp_path, i2v, suite="ucf101", seed=0, settings=ucf101.protocol_settings(i2v))
        made, true = next(ucf101._pairs(folder, Memory([large]), 0))
        assert made.shape == true.shape == (8, 3, 48, 96)

    def test_wrong_models_and_wrong_clips_are_refused(
        self, i2v: Engine, t2v: Engine, instruments: Instruments, real: Memory, tmp_path: Path
    ) -> None:
        options = {"instruments": instruments, "seed": 1, "output": tmp_path, "say": lambda _: None}
        with pytest.raises(ValueError, match="makes videos from text; suite ucf101 gives images: take suite vbench"):
            ucf101.evaluate(t2v, real, count=2, **options)
        with pytest.raises(ValueError, match="9 clips of 4 videos; give at least 2"):
            ucf101.evaluate(i2v, real, count=9, **options)
        with pytest.raises(ValueError, match="only 0 of 2 videos have 8 frames at 7 a second"):
            ucf101.evaluate(i2v, Memory([None, None]), count=2, **options)
        with pytest.raises(ValueError, match=r"real clip \d is \(5, 3, 64, 64\).*of 8 frames"):
            ucf101.evaluate(i2v, Memory([torch.zeros(5, 3, 64, 64)] * 2), count=2, **options)

    def test_a_folders_videos_are_read_from_their_first_frame(self, videos: Path, real: Memory) -> None:
        found = FolderClips(videos, ClipForm(num_frames=8, width=64, height=64, fps=7))
        assert len(found) == 3
        first = found.clip(0)
        assert first is not None
        assert real.clips[0] is not None
        assert (first - real.clips[0]).abs().mean() < 0.03
        assert found.clip(2) is None
        assert "1 too short (short.mp4)" in found.skipped.report()


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--suite")
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    command.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def loaded(i2v: Engine, t2v: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets the engines that are loaded already."""
    engines = {"small-i2v": i2v, "small-t2v": t2v}
    monkeypatch.setattr("vdmini.engine.load_engine", lambda folder: engines[folder.name])


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt list of the small world in VBench's form, one prompt twice as VBench has it."""
    captions = [scene.caption for scene in all_scenes()[:2]]
    entries = [
        {"prompt_en": captions[0], "dimension": ["color"], "auxiliary_info": {"color": "red"}},
        {"prompt_en": captions[1], "dimension": ["dynamic_degree", "motion_smoothness"]},
        {"prompt_en": captions[0], "dimension": ["temporal_flickering"]},
    ]
    path = tmp_path_factory.mktemp("prompts") / "VBench_full_info.json"
    path.write_text(json.dumps(entries))
    return path


TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
device = str
"""
"""The torch of the other environment, which the script asks for a device."""

VBENCH = """
import json, os
class VBench:
    def __init__(self, device, full_info_dir, output_path):
        os.makedirs(output_path, exist_ok=True)
        self.info, self.output = json.load(open(full_info_dir)), output_path
    def evaluate(self, videos_path, name, dimension_list, **options):
        print("noise on standard output")
        results = {}
        for dimension in dimension_list:
            prompts = [e["prompt_en"] for e in self.info if dimension in e["dimension"]]
            videos = [os.path.join(videos_path, f"{p}-{i}.mp4") for p in prompts for i in range(5)]
            found = [{"video_path": v, "video_results": 0.5} for v in videos if os.path.exists(v)]
            results[dimension] = [0.5, found]
        json.dump(results | options, open(os.path.join(self.output, name + "_eval_results.json"), "w"))
"""
"""VBench itself needs a GPU and downloads; this reads and writes the files that it reads and writes."""


class TestVBench:
    def test_videos_are_named_as_vbench_looks_for_them_and_made_once(
        self, t2v: Engine, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = vbench.read_prompts(prompts)
        folder = ClipFolder(tmp_path, t2v, suite="vbench", seed=0, settings={})
        assert vbench.write_videos(folder, listed[:1], images=None, samples=2, say=lambda _: None) == 2
        names = [f"{listed[0].text}-{index}" for index in range(2)]
        assert sorted(path.stem for path in folder.videos.iterdir()) == names
        first, second = (read_mp4(folder.videos / f"{name}.mp4") for name in names)
        assert not torch.equal(first, second)
        assert json.loads((tmp_path / "full_info.json").read_text()) == [listed[0].entry]
        monkeypatch.setattr(t2v, "generate", no_generation)
        assert vbench.write_videos(folder, listed[:1], images=None, samples=2, say=lambda _: None) == 2

    def test_five_samples_are_made_and_more_where_vbench_sifts_them(self, prompts: Path) -> None:
        colour, moving, flickering = vbench.read_prompts(prompts)
        assert [len(prompt.names(None)) for prompt in (colour, moving, flickering)] == [5, 5, 25]
        assert flickering.names(None)[:5] == colour.names(None)
        assert len(flickering.names(2)) == 2

    def test_prompts_can_be_chosen_by_dimension_and_number(self, prompts: Path) -> None:
        listed = vbench.read_prompts(prompts)
        assert vbench.chosen(listed, dimensions=["motion_smoothness"]) == [listed[1]]
        assert vbench.chosen(listed, limit=2) == listed[:2]
        with pytest.raises(ValueError, match="no prompt belongs to speed; there are color, dynamic_degree"):
            vbench.chosen(listed, dimensions=["speed"])

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ('[{"prompt_en": "a/c", "dimension": ["x"]}]', "no file can be named 'a/c-0'"),
            (json.dumps([{"prompt_en": "ä" * 120, "dimension": []}]), "has 242 bytes; a file's name holds 237"),
            ('{"prompt": 1}', "is no list of objects with prompt_en and dimension"),
            ('[{"prompt_en": "a"}]', "is no list of objects with prompt_en and dimension"),
        ],
    )
    def test_lists_that_vbench_could_not_find_videos_of_are_refused(
        self, text: str, complaint: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "prompts.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=complaint):
            vbench.read_prompts(path)

    def test_vbenchs_own_punctuation_stays_as_it_is(self) -> None:
        for text in ("A robot DJ is playing the turntable, in heavy raining futuristic tokyo rooftop", "it's 3:4 'x'."):
            check_name(text)

    def test_what_the_model_cannot_make_is_refused_before_any_work(
        self, t2v: Engine, i2v: Engine, prompts: Path, tmp_path: Path
    ) -> None:
        listed = vbench.read_prompts(prompts)
        long = listed[0].model_copy(update={"text": "a 3D model of a 1800s victorian house " * 3})
        with pytest.raises(
            ValueError, match="1 of 1 prompts are longer than the 24 tokens that small-t2v-teacher reads"
        ):
            vbench.check(t2v, [long], None)
        with pytest.raises(ValueError, match="small-i2v-teacher is i2v, suite vbench is not; take suite vbench-i2v"):
            vbench.check(i2v, listed, None)
        with pytest.raises(ValueError, match="has no image_name; give VBench-I2V's list"):
            vbench.check(i2v, listed, tmp_path)
        pictured = [listed[0].model_copy(update={"image_name": "x.jpg"})]
        with pytest.raises(ValueError, match=r"lacks 1 of 1 images, first 'x.jpg'; fetch them with .*download_data.sh"):
            vbench.check(i2v, pictured, tmp_path)

    def test_scores_are_read_with_intervals_over_prompts_where_they_are_means(self, tmp_path: Path) -> None:
        videos = [{"video_path": f"v/{p}-{i}.mp4", "video_results": p / 10} for p in range(8) for i in range(5)]
        found = {"color": [0.35, videos], "camera_motion": [0.35, {"pan": 1}, videos], "scene": [0.9, videos]}
        (tmp_path / "x.json").write_text(json.dumps(found))
        scores = vbench_scores.read_scores(tmp_path / "x.json", seed=0)
        assert scores["color"] == scores["camera_motion"] == mean_interval([p / 10 for p in range(8)])
        assert (scores["scene"].value, scores["scene"].interval) == (0.9, None)


@pytest.mark.usefixtures("loaded")
class TestCommand:
    def test_ucf101_runs_on_a_folder_of_videos_and_prints_json(
        self, root: Path, videos: Path, i3d_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        teacher = str(root / "compression/teachers/small-i2v")
        given = parsed(teacher, "--suite", "ucf101", "--videos", str(videos), "--output", str(tmp_path), "--json")
        given.i3d = i3d_file
        assert command.run(given, Console(stderr=True)) == 0
        printed = capsys.readouterr()
        report = json.loads(printed.out)
        assert report["videos"] == 2
        assert report["measures"]["fvd"]["value"] > 0
        assert report["measures"]["fvd"]["interval"] is None
        assert "2/2 clips" in printed.err

    def test_vbench_tells_how_to_be_installed_where_it_is_not(
        self, root: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        teacher = str(root / "compression/teachers/small-t2v")
        given = parsed(teacher, "--suite", "vbench", "--prompts", str(prompts), "--output", str(tmp_path))
        given.limit, given.samples = 1, 1
        assert command.run(given, Console(stderr=True, soft_wrap=True)) == 0
        told = capsys.readouterr().err
        assert "vbench is not installed" in told
        assert f"env/bin/python '{tmp_path}/score.py'" in told
        assert "1 videos of 1 of 3 prompts: not comparable with published totals" in told
        assert "from vbench import VBench" in (tmp_path / "score.py").read_text()

    def test_vbench_is_called_where_it_is_installed(
        self, root: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        repository = tmp_path / "VBench"
        (repository / "vbench").mkdir(parents=True)
        (repository / "vbench/__init__.py").write_text(VBENCH)
        (repository / "torch.py").write_text(TORCH)
        (repository / "vbench/VBench_full_info.json").write_text(prompts.read_text())
        teacher = str(root / "compression/teachers/small-t2v")
        given = parsed(teacher, "--suite", "vbench", "--vbench-root", str(repository), "--samples", "1", "--json")
        given.output = tmp_path / "out"
        assert command.run(given, Console(stderr=True)) == 0
        report = json.loads(capsys.readouterr().out)
        assert set(report["measures"]) == {"color", "dynamic_degree", "motion_smoothness"}
        assert report["measures"]["color"]["value"] == 0.5
        assert report["videos"] == 2
        assert any("vbench static_filter" in note for note in report["notes"])

    def test_vbench_i2v_takes_the_images_of_the_models_shape(
        self, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for ratio, colour in (("1-1", "red"), ("16-9", "blue")):
            (tmp_path / "crop" / ratio).mkdir(parents=True)
            Image.new("RGB", (96, 96), colour).save(tmp_path / "crop" / ratio / "a cat.jpg")
        names = ["a cat", "a cat, camera pans left"]
        entries = [{"prompt_en": n, "dimension": ["i2v_subject"], "image_name": "a cat.jpg"} for n in names]
        (tmp_path / "info.json").write_text(json.dumps(entries))
        teacher = str(root / "compression/teachers/small-i2v")
        given = parsed(teacher, "--suite", "vbench-i2v", "--images", str(tmp_path / "crop"), "--samples", "1", "--json")
        given.prompts, given.output = tmp_path / "info.json", tmp_path / "out"
        assert command.run(given, Console(stderr=True)) == 0
        report = json.loads(capsys.readouterr().out)
        assert "vbench2_beta_i2v is not installed" in report["notes"][-1]
        made = sorted((tmp_path / "out/videos").iterdir())
        assert [path.name for path in made] == ["a cat, camera pans left-0.mp4", "a cat-0.mp4"]
        red, _, blue = read_mp4(made[1])[0].mean(dim=(1, 2)).tolist()
        assert red > 0.7
        assert blue < 0.3
        assert "'resolution': '1-1'" in (tmp_path / "out/score.py").read_text()

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["--suite", "ucf101"], "suite ucf101 keeps its videos; give a folder for them with --output"),
            (["--suite", "ucf101", "--output", "out"], "give their folder with --videos"),
            (["--suite", "vbench", "--output", "out"], "suite vbench needs its prompts: give --prompts FILE"),
        ],
    )
    def test_what_is_missing_is_asked_for(self, root: Path, arguments: list[str], complaint: str) -> None:
        given = parsed(str(root / "compression/teachers/small-i2v"), *arguments)
        with pytest.raises(ValueError, match=complaint):
            command.run(given, Console(stderr=True))

    def test_a_failing_vbench_is_one_error_and_keeps_the_videos(self, tmp_path: Path) -> None:
        script = tmp_path / "score.py"
        script.write_text("raise SystemExit(3)")
        place = vbench_scores.Place(Path(sys.executable))
        with pytest.raises(ValueError, match="VBench ended with 3, see above; the videos are kept"):
            vbench_scores.score(place, "vbench", script, seed=0)
