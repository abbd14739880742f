"""A full-size recipe's job, in small: a teacher that knows no small world, real videos, and kills on the way.

The teachers are narrow and make clips that the small world does not have; the recipes are those of the full size, with
fewer of everything.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from vdmini.artifact import ArtifactError, read_manifest, verify, write_manifest
from vdmini.engine import load_engine
from vdmini.video import write_mp4
from vdmini_compress import latency
from vdmini_compress.cli import main
from vdmini_compress.commands.video_options import videos_from
from vdmini_compress.decoder import choose, command, worth
from vdmini_compress.decoder.measure import DecoderMeasures
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.job import Job
from vdmini_compress.recipe import Recipe, RecipeError, load_recipe

WIDTH, HEIGHT, FRAMES = 128, 64, 3
RECIPES = {"i2v": "svd-i2v.yaml", "t2v": "t2v-turbo-v2.yaml"}
SMALL = [
    "data.clips=8",
    "data.videos.width=64",
    "data.videos.height=64",
    "data.videos.num_frames=3",
    "data.videos.held_out=0.5",
    "distill.steps=2",
    "distill.shards=1",
    "distill.batch_size=2",
    "distill.warmup=1",
    "distill.watch_every=0",
    "distill.checkpoint_every=1",
    "distill.encoder=null",
    "decoder.layers=[]",
    "decoder.multiple=32",
    "decoder.latency=0.95",
    "decoder.window=8",
    "decoder.frames=3",
    "decoder.clips=4",
    "decoder.held_out=4",
    "decoder.steps=2",
    "decoder.checkpoint_every=1",
    "evaluate.clips=6",
]


def write_videos(folder: Path, count: int) -> Path:
    """Films of a bright square that wanders over noise, 24 frames of 160x96 at 12 a second, each with a caption."""
    folder.mkdir(parents=True)
    for k in range(count):
        draw = np.random.default_rng(k)
        frames = draw.integers(0, 90, (1, 96, 160, 3), dtype=np.uint8).repeat(24, axis=0)
        for t in range(24):
            left = (10 + (k % 5 + 1) * t) % 120
            frames[t, 30:60, left : left + 30] = 120 + 10 * k
        write_mp4(frames, folder / f"{k}.mp4", fps=12)
        (folder / f"{k}.txt").write_text(f"a red square moving right, film {k}")
    return folder


def foreign_teacher(source: Path, folder: Path) -> Path:
    """A small teacher that makes other clips than the small world's, in one step."""
    shutil.copytree(source, folder)
    manifest = read_manifest(folder)
    size = {"min_num_frames": FRAMES, "max_num_frames": FRAMES, "num_inference_steps": (1,)}
    limits = manifest.limits.model_copy(update={**size, "sizes": ((WIDTH, HEIGHT),)})
    wanted = {"width": WIDTH, "height": HEIGHT, "num_frames": FRAMES, "num_inference_steps": 1}
    defaults = manifest.defaults.model_copy(update=wanted)
    write_manifest(folder, manifest.model_copy(update={"limits": limits, "defaults": defaults}))
    return folder


@pytest.fixture(scope="session")
def recipe_file(root: Path, task: str, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full-size recipe beside a teacher and videos of its own."""
    folder = tmp_path_factory.mktemp(f"full-size-{task}")
    values = yaml.safe_load((root / "compression" / "recipes" / RECIPES[task]).read_text())
    values["teacher"] = str(foreign_teacher(teacher_folder, folder / "teacher"))
    values["data"]["videos"]["path"] = str(write_videos(folder / "videos", 12))
    path = folder / RECIPES[task]
    path.write_text(yaml.safe_dump(values))
    return path


def by_work(original: object, small: object, latents_BFCHW: torch.Tensor, *, runs: int) -> float:
    """Instead of a clock, which no test can rely on."""
    return sum(worth.wire_costs(small, latents_BFCHW).values()) / sum(
        worth.wire_costs(original, latents_BFCHW).values()
    )


PAIRS = 2
"""Enough to see that latency is measured, not to quote it."""


def quick(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> Recipe:
    monkeypatch.setattr(choose, "share", by_work)
    monkeypatch.setattr(worth, "PROBES", 1)
    monkeypatch.setattr(latency, "LEAST_RUNS", PAIRS)
    decoder = recipe.decoder and recipe.decoder.model_copy(update={"runs": PAIRS})
    return recipe.model_copy(update={"latency": recipe.latency.model_copy(update={"runs": PAIRS}), "decoder": decoder})


@pytest.fixture(scope="session")
def made(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    lines: list[str] = []
    output = tmp_path_factory.mktemp("straight") / "out"
    with pytest.MonkeyPatch.context() as patch:
        assert Job(quick(patch, load_recipe(recipe_file, SMALL)), output, lines.append).run()
    return output, lines


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_a_full_size_recipe_makes_a_whole_artifact_of_real_videos(made: tuple[Path, list[str]]) -> None:
    output, lines = made
    manifest = verify(output)
    assert set(manifest.quality["vdmini"]) == {"frame_distance", "motion_distance"}
    assert (manifest.latency[0].width, manifest.latency[0].num_frames) == (WIDTH, FRAMES)
    assert "6 films for 8 clips" in lines
    assert (output / "report.html").read_text().count("data:video/mp4;base64,") == 2
    assert manifest.recipe["teacher"] == "teacher"
    assert str(output.parent) not in (output / "vdmini.json").read_text()


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_its_decoder_was_compressed_on_windows_of_the_videos(made: tuple[Path, list[str]]) -> None:
    measures = DecoderMeasures.model_validate_json((made[0] / "decoder.json").read_text())
    assert measures.parameters["vdmini"] < measures.parameters["original"]
    assert measures.latent_size == (WIDTH // 8, HEIGHT // 8)
    assert {kind: quality.clips for kind, quality in measures.quality.items()} == {
        "encoded": 2,
        "generated": 2,
        "all": 4,
    }
    engine = load_engine(made[0], device="cpu")
    assert type(engine.pipeline.vae).__name__.startswith("VDMini")


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_a_decoder_alone_is_healed_on_windows_of_videos_too(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, output = recipe_file.parent / "teacher", tmp_path / "out"
    head = ["decoder", str(teacher), "--output", str(output)]
    assert main(head) == 1
    assert "give --videos DIR" in capsys.readouterr().err
    assert main([*head, "--window", "8"]) == 1
    assert "--window belongs to real videos" in capsys.readouterr().err
    given = argparse.Namespace(videos=recipe_file.parent / "videos", source=None, captions=None)
    engine, settings = load_engine(teacher, device="cpu"), DecoderSettings(window=8, frames=3)
    maker = command.film_maker(engine, videos_from(given, held_out=0.5), settings, tmp_path)
    maker.refuse(engine)
    films = maker.film(engine, 2, 0, held_out=False, say=lambda _: None)
    assert films.true_NF3HW.shape == (2, 3, 3, 64, 64)
    assert films.generated_N.tolist() == [False, True]


def killed_at(moment: str, command: list[str], environment: dict[str, str]) -> None:
    """Run a command and SIGKILL it as soon as it says something."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        assert any(moment in line for line in process.stderr)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_the_command_that_is_killed_ends_with_the_same_weights(
    made: tuple[Path, list[str]], recipe_file: Path, tmp_path: Path, untraced: dict[str, str]
) -> None:
    changes, output = [*SMALL, "decoder=null"], tmp_path / "out"
    command = [sys.executable, "-m", "vdmini_compress.cli", "run", str(recipe_file), "--output", str(output)]
    killed_at("distill: step 2/2", [*command, *(part for change in changes for part in ("--set", change))], untraced)
    assert not output.exists()
    work = output.with_name("out.work")
    # What comes after the training resumes as ever, see test_job.
    whole = read_manifest(made[0])
    (work / "quality.json").write_text(json.dumps(whole.quality))
    (work / "latency.json").write_text(whole.latency[0].model_dump_json())
    lines: list[str] = []
    Job(load_recipe(recipe_file, changes), output, lines.append).run()
    assert any(line.startswith("resuming") for line in lines)
    assert any("resumed at step" in line for line in lines)  # 1, or 2 when the kill came late
    weights = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(made[0] / weights), load_file(output / weights)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_what_would_fail_after_hours_is_refused_at_once(recipe_file: Path, tmp_path: Path) -> None:
    for change, complaint in (
        ("data.videos.held_out=0.1", "evaluate.clips 6 are more than the 1 held-out films"),
        ("decoder.window=9", "decoder.window 9 is more than the 8 latents of a picture's side"),
        ("evaluate.suite=small-world", "the small world that this measures on has 8 frames of 64x64"),
    ):
        with pytest.raises(ValueError, match=complaint):
            Job(load_recipe(recipe_file, [*SMALL, change]), tmp_path / "out", lambda _: None).run()
    with pytest.raises(ArtifactError, match="is of family svd, and the recipe is for videocrafter2"):
        Job(load_recipe(recipe_file, [*SMALL, "family=videocrafter2"]), tmp_path / "out", lambda _: None).run()
    with pytest.raises(RecipeError, match=r"evaluate.suite videos needs data.source videos and data.videos.held_out"):
        load_recipe(recipe_file, ["data.videos.held_out=0"])
    assert list(tmp_path.iterdir()) == []
