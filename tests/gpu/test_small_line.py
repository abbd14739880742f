"""The small teachers on a GPU: the same clips as on the CPU, and students that learn there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vdmini.engine import Engine, load_engine
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini.switches import RuntimeSettings, label
from vdmini_compress.data import WORLDS
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.evaluate import evaluate, settings_of
from vdmini_compress.material import sample_input
from vdmini_compress.recipe import Distill
from vdmini_compress.teachers.autoencoder import decoder_sensitivity
from vdmini_compress.teachers.finishing import Finish, finish_teacher
from vdmini_compress.teachers.image_to_video import SmallImageToVideo

GPU = "cuda:0"
TASK_LOSS = {"i2v": "pseudo-huber", "t2v": "consistency"}


@pytest.fixture(scope="module")
def on_gpu(teacher_folder: Path) -> Engine:
    return load_engine(teacher_folder, device=GPU, dtype="float32")


def frames(engine: Engine, **changes: Any) -> Any:
    return engine.generate(**settings_of(engine, **sample_input(engine), **changes)).frames


def psnr(made: Any, right: Any) -> float:
    error = np.square(made.astype(np.float64) - right).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_a_gpu_makes_the_cpus_clips(on_gpu: Engine, teacher_engine: Engine) -> None:
    made = frames(on_gpu, seed=3)
    assert psnr(made, frames(teacher_engine, seed=3)) > 40
    assert np.array_equal(made, frames(on_gpu, seed=3))


def test_bfloat16_changes_little(on_gpu: Engine, teacher_folder: Path) -> None:
    half = load_engine(teacher_folder, device=GPU)
    assert half.dtype == "bfloat16"
    assert psnr(frames(half, seed=3), frames(on_gpu, seed=3)) > 40


@pytest.mark.parametrize(
    "settings",
    [
        RuntimeSettings(fused_blocks=True, on_device=True),
        RuntimeSettings(fused_blocks=True, on_device=True, cuda_graphs=True, cached_lookups=True),
        RuntimeSettings(fused_blocks=True, cuda_graphs=True, encoder_graphs=True, fused_projections=True),
        RuntimeSettings(unet_channels_last=True, vae_channels_last=True),
    ],
    ids=label,
)
def test_a_switch_changes_no_clip_by_more_than_rounding(
    on_gpu: Engine, teacher_folder: Path, settings: RuntimeSettings
) -> None:
    tuned = load_engine(teacher_folder, device=GPU, dtype="float32", runtime=settings)
    for seed in (3, 4, 3):
        assert psnr(frames(tuned, seed=seed), frames(on_gpu, seed=seed)) > 40


def test_scores_on_a_gpu_are_the_cpus(on_gpu: Engine, teacher_engine: Engine) -> None:
    here, there = (evaluate(engine, count=4, seed=0) for engine in (on_gpu, teacher_engine))
    assert here["trajectory_error_px"] == pytest.approx(there["trajectory_error_px"], abs=0.02)


class Killed(Exception):
    pass


SETTINGS = {
    "steps": 4,
    "batch_size": 4,
    "shards": 2,
    "learning_rate": 1e-3,
    "warmup": 1,
    "checkpoint_every": 2,
    "lambda_mca": 0.1,
    "gradient_checkpointing": True,
}


def test_a_student_learns_on_a_gpu_and_resumes_there(on_gpu: Engine, task: str, tmp_path: Path) -> None:
    world, unet = WORLDS[task], on_gpu.pipeline.unet
    with torch.no_grad():
        cache = world.encode(on_gpu.pipeline, 16, 0, lambda _: None)
    sensitivity = decoder_sensitivity(on_gpu.pipeline.vae, cache["latents_NFCHW"])
    before = [p.detach().clone() for p in unet.parameters()]

    def healed(folder: str, kill_at: int | None = None) -> list[torch.Tensor]:
        def say(line: str) -> None:
            if kill_at is not None and line.startswith(f"step {kill_at}/"):
                raise Killed

        torch.manual_seed(0)
        settings = Distill.model_validate(SETTINGS | {"task_loss": TASK_LOSS[task]})
        student = build_student(unet, PruningPlan.preset("paper", unet))
        made = Distillation(on_gpu.family, on_gpu.pipeline, student, world, cache, sensitivity, settings)
        heal(made, tmp_path / folder, seed=0, report=say)
        return [p.detach() for p in student.parameters()]

    whole = healed("whole")
    assert all(bool(torch.isfinite(p).all()) for p in whole)
    assert all(torch.equal(p, was) for p, was in zip(unet.parameters(), before, strict=True))
    with pytest.raises(Killed):
        healed("cut", kill_at=3)
    apart = [(p - q).abs().mean() for p, q in zip(whole, healed("cut"), strict=True)]
    assert float(torch.stack(apart).mean()) < 1e-4  # kernels add up in no fixed order there


def test_the_image_teacher_is_finished_on_a_gpu(root: Path, tmp_path: Path) -> None:
    start = root / "compression/teachers/small-i2v"
    finish = Finish(3, batch_size=16, seen=8, processes=2)
    _, unet, took = finish_teacher(SmallImageToVideo(), start, finish, tmp_path, torch.device(GPU), print)
    assert next(unet.parameters()).device.type == "cuda"
    assert took["finish"]["steps"] == 3
    assert all(bool(torch.isfinite(p).all()) for p in unet.parameters())
