"""A full-size recipe's job, in small: a teacher that knows no small world, real videos, and kills on the way.

The teachers are narrow and make clips that the small world does not have; the recipes are those of the full size, with
fewer of everything.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from vdmini.artifact import read_manifest, verify, write_manifest
from vdmini.engine import load_engine
from vdmini.video import write_mp4
from vdmini_compress import latency
from vdmini_compress.decoder import choose, worth
from vdmini_compress.job import Job
from vdmini_compress.recipe import Recipe, load_recipe

WIDTH, HEIGHT, FRAMES = 128, 64, 5
RECIPES = {"i2v": "svd-i2v.yaml", "t2v": "t2v-turbo-v2.yaml"}
SMALL = [
    "data.clips=8",
    "data.videos.width=64",
    "data.videos.height=64",
    "data.videos.num_frames=4",
    "data.videos.held_out=0.5",
    "distill.steps=2",
    "distill.shards=1",
    "distill.batch_size=4",
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


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="module")
def test_a_full_size_recipe_makes_a_whole_artifact_of_real_videos(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    wanted = quick(monkeypatch, load_recipe(recipe_file, SMALL))
    manifest = Job(wanted, tmp_path / "out", lines.append).run()
    assert manifest is not None
    assert verify(tmp_path / "out") == manifest
    assert set(manifest.quality["vdmini"]) == {"frame_distance", "motion_distance"}
    assert (manifest.latency[0].width, manifest.latency[0].num_frames) == (WIDTH, FRAMES)
    assert manifest.training["decoder_seconds"] > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 2
    engine = load_engine(tmp_path / "out", device="cpu")
    assert type(engine.pipeline.vae).__name__.startswith("VDMini")
