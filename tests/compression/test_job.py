"""The job: from a recipe to an artifact that loads, resumes after a kill, and leaves nothing half-made."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vdmini.artifact import ArtifactError, read_manifest, verify, write_manifest
from vdmini.engine import load_engine
from vdmini.manifest import Manifest
from vdmini.plan import PlanError
from vdmini_compress import job as jobs
from vdmini_compress.cli import main
from vdmini_compress.evaluate import settings_of
from vdmini_compress.job import Job
from vdmini_compress.material import sample_input
from vdmini_compress.recipe import Recipe, load_recipe

PAIRS = 10
"""Fewer than a recipe may ask for: enough to see that latency is measured, not to quote it."""

FAST = [
    "data.clips=8",
    "distill.batch_size=1",
    "distill.shards=2",
    "distill.steps=3",
    "distill.checkpoint_every=1",
    "evaluate.clips=4",
]


def recipe(root: Path, task: str, *changes: str) -> Recipe:
    wanted = load_recipe(root / "compression" / "recipes" / f"small-{task}.yaml", [*FAST, *changes])
    return wanted.model_copy(update={"latency": wanted.latency.model_copy(update={"runs": PAIRS})})


@pytest.fixture(scope="session")
def fast(root: Path, task: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A short job; the text-to-video teacher samples in one step, which is a quarter of its evaluation's time."""
    wanted = recipe(root, task)
    if task == "i2v":
        measured = root / "benchmarks" / "results" / "2026-11-26-small-i2v-finished-importance-seed-0.json"
        return wanted.model_copy(update={"importance": measured})
    folder = Path(shutil.copytree(wanted.teacher, tmp_path_factory.mktemp("teacher") / "small-t2v"))
    manifest = read_manifest(folder)
    limits = manifest.limits.model_copy(update={"num_inference_steps": (1,)})
    defaults = manifest.defaults.model_copy(update={"num_inference_steps": 1})
    write_manifest(folder, manifest.model_copy(update={"limits": limits, "defaults": defaults}))
    return wanted.model_copy(update={"teacher": folder})


@pytest.fixture(scope="session")
def made(
    root: Path, task: str, fast: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Manifest, list[str]]:
    lines: list[str] = []
    output = tmp_path_factory.mktemp("job") / "student"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.latency, "LEAST_RUNS", PAIRS)
        if task == "t2v":  # latency takes most of a job's time and knows no tasks: the other job measures it
            known = verify(root / "compression" / "artifacts" / "small-t2v").latency[0]
            patch.setattr(jobs.latency, "measure", lambda *_, **__: known)
        manifest = Job(fast, output, lines.append).run()
    assert manifest is not None
    return output, manifest, lines


def test_the_artifact_is_whole_and_says_what_was_done(made: tuple[Path, Manifest, list[str]], task: str) -> None:
    output, manifest, lines = made
    assert verify(output) == manifest
    assert (manifest.variant, manifest.task) == ("vdmini", task)
    assert "mid_block" in manifest.removed_blocks
    assert manifest.teacher.id == f"small-{task}"
    assert len(manifest.teacher.sha256) == 64
    assert any("distill: step 3/3" in line for line in lines)
    assert sorted(path.name for path in output.parent.iterdir()) == ["student"]
    assert not [path for path in output.rglob("*.json") if "_name_or_path" in path.read_text()]


def test_it_is_smaller(made: tuple[Path, Manifest, list[str]], teacher_folder: Path) -> None:
    manifest, teacher = made[1], verify(teacher_folder)
    assert manifest.cost.unet_parameters < 0.75 * teacher.cost.unet_parameters
    assert manifest.cost.unet_flops < 0.8 * teacher.cost.unet_flops


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_its_latency_was_measured_beside_the_teacher(made: tuple[Path, Manifest, list[str]]) -> None:
    timing = made[1].latency[0]
    assert timing.runs == PAIRS
    assert timing.speedup_interval[0] <= timing.speedup <= timing.speedup_interval[1]
    assert timing.seconds["vdmini"]["denoise"] < timing.seconds["teacher"]["denoise"]


def test_its_quality_stands_beside_the_teachers(made: tuple[Path, Manifest, list[str]]) -> None:
    quality = made[1].quality
    assert set(quality) == {"teacher", "vdmini"}
    assert quality["teacher"].keys() == quality["vdmini"].keys()
    assert quality["teacher"]["clip_psnr_db"] > quality["vdmini"]["clip_psnr_db"]


def test_it_loads_and_generates(made: tuple[Path, Manifest, list[str]]) -> None:
    output = made[0]
    engine = load_engine(output, device="cpu")
    shown = engine.generate(**settings_of(engine, **sample_input(engine)))
    assert shown.frames.shape == (8, 64, 64, 3)


def test_the_report_holds_both_clips_and_every_removed_block(made: tuple[Path, Manifest, list[str]]) -> None:
    output, manifest, _ = made
    page = (output / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 2
    assert all(block in page for block in manifest.removed_blocks)
    assert not re.search(r"(src|href)\s*=\s*.?(http|//)", page)
    assert page.count("<svg") == (3 if manifest.task == "i2v" else 2)  # the former knows what its blocks are worth
    assert (output / "importance.json").exists() == (manifest.task == "i2v")


class Killed(BaseException):
    pass


def killing(say_when: str) -> Callable[[str], None]:
    def say(line: str) -> None:
        if say_when in line:
            raise Killed

    return say


@pytest.mark.parametrize("task", ["t2v"], indirect=True, scope="session")  # both resume alike, see also test_distill
def test_a_job_that_is_killed_again_and_again_ends_with_the_same_weights_and_scores(
    made: tuple[Path, Manifest, list[str]], fast: Recipe, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    for moment in ("distill: step 2/3", "evaluate: teacher"):
        with pytest.raises(Killed):
            Job(fast, cut, killing(moment)).run()
        assert not cut.exists()
    # Latency isn't what resumes here, and takes most of a job's time: it is measured once.
    (cut.with_name("cut.work") / "latency.json").write_text(made[1].latency[0].model_dump_json())
    lines: list[str] = []
    resumed = Job(fast, cut, lines.append).run()
    assert any(line.startswith("resuming") for line in lines)
    weights = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(made[0] / weights), load_file(cut / weights)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert resumed is not None
    assert resumed.quality == made[1].quality


def test_an_impossible_plan_is_refused_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    wanted = recipe(root, "i2v", 'plan=["down_blocks.9.resnets.0"]')
    with pytest.raises(PlanError, match=r"down_blocks\.9\.resnets\.0"):
        Job(wanted, tmp_path / "out", lambda _: None).run()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_teacher_is_refused_by_the_files_name(root: Path, tmp_path: Path) -> None:
    wanted = recipe(root, "i2v")
    teacher = Path(shutil.copytree(wanted.teacher, tmp_path / "teacher"))
    (teacher / "unet" / "config.json").write_text("{}")
    broken = wanted.model_copy(update={"teacher": teacher})
    with pytest.raises(ArtifactError, match=r"unet/config\.json is damaged"):
        Job(broken, tmp_path / "out", lambda _: None).run()
    assert [path.name for path in tmp_path.iterdir()] == ["teacher"]


def test_a_student_is_no_teacher(root: Path, made: tuple[Path, Manifest, list[str]], tmp_path: Path, task: str) -> None:
    wanted = recipe(root, task).model_copy(update={"teacher": made[0]})
    with pytest.raises(ArtifactError, match="is a student already"):
        Job(wanted, tmp_path / "out", lambda _: None).run()


def test_a_full_disk_is_noticed_before_the_work(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10 * 2**20))
    path = root / "compression" / "recipes" / "small-i2v.yaml"
    assert main(["run", str(path), "--output", str(tmp_path / "out")]) == 1
    assert "has 10 MiB free and the job needs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_never_overwritten(root: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is no artifact"):
        Job(recipe(root, "i2v"), tmp_path, lambda _: None).run()
