"""Who learns from what in a distillation, on the real small teachers and their students."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vdmini.engine import Engine
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini_compress.data import WORLDS, Cache
from vdmini_compress.discriminator import Discriminator, View, encode
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.losses import hinge_discriminator_loss
from vdmini_compress.recipe import Distill
from vdmini_compress.taps import tapped
from vdmini_compress.teachers.autoencoder import decoder_sensitivity
from vdmini_compress.training import generator_for

TASK_LOSS = {"i2v": "pseudo-huber", "t2v": "consistency"}


def settings(task: str, **changes: Any) -> Distill:
    paper = {"lambda_output": 0.0, "lambda_icd": 0.1, "lambda_mca": 1.0, "task_loss": TASK_LOSS[task]}
    fast = {"steps": 3, "batch_size": 1, "learning_rate": 1e-3, "warmup": 1, "checkpoint_every": 1}
    return Distill.model_validate(paper | fast | changes)


@pytest.fixture(scope="module")
def cache(teacher_engine: Engine, task: str) -> Cache:
    with torch.no_grad():
        return WORLDS[task].encode(teacher_engine.pipeline, 4, 0, lambda _: None)


@pytest.fixture(scope="module")
def sensitivity(teacher_engine: Engine, cache: Cache) -> torch.Tensor:
    return decoder_sensitivity(teacher_engine.pipeline.vae, cache["latents_NFCHW"])


@pytest.fixture
def distillation_of(
    teacher_engine: Engine, task: str, cache: Cache, sensitivity: torch.Tensor
) -> Callable[..., Distillation]:
    def build(**changes: Any) -> Distillation:
        torch.manual_seed(0)
        unet = teacher_engine.pipeline.unet
        student = build_student(unet, PruningPlan.preset("paper", unet)).eval()
        return Distillation(
            teacher_engine.family,
            teacher_engine.pipeline,
            student,
            WORLDS[task],
            cache,
            sensitivity,
            settings(task, **changes),
        )

    return build


def reached(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def test_the_encoder_stops_after_the_last_down_stage_with_the_features_of_a_whole_pass(
    teacher_engine: Engine, task: str, cache: Cache
) -> None:
    unet = teacher_engine.pipeline.unet
    batch = WORLDS[task].draw(teacher_engine.pipeline, cache, settings(task), generator_for(0, 0))
    stages = {"0": "conv_in"} | {str(i + 1): f"down_blocks.{i}" for i in range(4)}
    with torch.no_grad(), tapped(unet, stages) as whole:
        batch.run(unet)
    calls: list[int] = []
    handle = unet.up_blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        features = encode(unet, batch)
    handle.remove()
    assert not calls
    assert all(torch.equal(a, whole[str(i)]) for i, a in enumerate(features))
    assert not any(module._forward_hooks for module in (unet.conv_in, *unet.down_blocks))


def test_heads_see_what_a_clip_changes_in_units_of_its_spread(
    distillation_of: Callable[..., Distillation], teacher_engine: Engine, task: str, cache: Cache
) -> None:
    made, generator = distillation_of(), generator_for(0, 0)
    batch = WORLDS[task].draw(teacher_engine.pipeline, cache, settings(task, batch_size=4), generator)
    clip, blank = batch.renoised([batch.target_BFCHW, torch.zeros_like(batch.target_BFCHW)], generator)
    with torch.no_grad():
        seen, nothing = made.view([clip, blank], blank)
    assert all(0.2 < float(change.std()) < 5 for change in seen)
    assert not any(bool(change.any()) for change in nothing)


def test_a_discriminator_soon_tells_a_clip_from_its_first_frame(
    teacher_engine: Engine, task: str, cache: Cache
) -> None:
    """On the bare features its loss stays near 2, where nothing is told apart."""
    torch.manual_seed(0)
    unet, generator = teacher_engine.pipeline.unet, generator_for(0, 0)
    batch = WORLDS[task].draw(teacher_engine.pipeline, cache, settings(task, batch_size=4), generator)
    real = batch.target_BFCHW
    moving, still, blank = batch.renoised([real, real[:, :1].expand_as(real), torch.zeros_like(real)], generator)
    heads = Discriminator.of(unet, batch.condition_BD.shape[1], hidden=32)
    with torch.no_grad():
        seen, other = View.fitted(unet, [(moving, blank)])([moving, still], blank)
    optimizer = torch.optim.AdamW(heads.parameters(), 1e-3)
    for _ in range(40):
        loss = hinge_discriminator_loss(heads(seen, moving), heads(other, still))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.8


def test_the_students_step_reaches_the_student_alone(distillation_of: Callable[..., Distillation]) -> None:
    made = distillation_of()
    made.pipeline.unet.requires_grad_(True)
    losses = made.losses(generator_for(0, 0), 0)
    assert set(losses) == {"task", "icd", "mca"}
    trained = list(made.student.parameters())
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), trained, allow_unused=True)
    assert sum(g is not None for g in gradients) > 0.9 * len(trained)
    assert made.discriminator is not None
    assert not reached(made.discriminator)
    assert not reached(made.pipeline.unet)
    made.pipeline.unet.requires_grad_(False)


@pytest.mark.parametrize("lambda_r1", [0.0, 0.5])
def test_the_discriminators_step_reaches_its_heads_alone(
    distillation_of: Callable[..., Distillation], lambda_r1: float
) -> None:
    made = distillation_of(lambda_r1=lambda_r1)
    made.losses(generator_for(0, 0), 0)
    losses = made.discriminator_losses(generator_for(0, 0), 0)
    assert set(losses) == {"discriminator"} | ({"r1"} if lambda_r1 else set())
    torch.stack(list(losses.values())).sum().backward()
    assert made.discriminator is not None
    assert all(p.grad is not None for p in made.discriminator.parameters())
    assert not reached(made.student)
    assert not reached(made.pipeline.unet)


def test_the_adversarial_loss_alone_moves_the_student(distillation_of: Callable[..., Distillation]) -> None:
    made = distillation_of(lambda_task=0.0, lambda_icd=0.0)
    losses = made.losses(generator_for(0, 0), 0)
    assert set(losses) == {"mca"}
    gradients = torch.autograd.grad(losses["mca"], list(made.student.parameters()), allow_unused=True)
    assert any(g is not None and bool(g.any()) for g in gradients)


def test_without_an_adversarial_weight_there_is_no_discriminator(distillation_of: Callable[..., Distillation]) -> None:
    made = distillation_of(lambda_mca=0.0)
    assert made.discriminator is None
    assert made.opponent() is None
    assert set(made.losses(generator_for(0, 0), 0)) == {"task", "icd"}


def test_the_lower_answer_of_a_consistency_loss_is_no_path_for_gradients(
    distillation_of: Callable[..., Distillation], task: str
) -> None:
    made = distillation_of(task_loss="consistency")
    if task == "i2v":
        with pytest.raises(TypeError, match="needs a batch of a latent consistency model"):
            made.losses(generator_for(0, 0), 0)
        return
    batch: Any = made.world.draw(made.pipeline, made.cache, made.settings, generator_for(0, 0))
    assert not made._lower(batch, batch.run(made.student)).requires_grad


class Killed(Exception):
    pass


def healed(made: Distillation, folder: Path, kill_at: int | None = None) -> dict[str, torch.Tensor]:
    def say(line: str) -> None:
        if kill_at is not None and line.startswith(f"step {kill_at}/"):
            raise Killed

    heal(made, folder, seed=0, report=say)
    assert made.discriminator is not None
    return dict(made.student.state_dict()) | {f"d.{k}": v for k, v in made.discriminator.state_dict().items()}


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")  # both resume alike, see also test_job
def test_an_adversarial_run_that_was_killed_ends_with_the_same_weights_and_the_teacher_as_it_was(
    distillation_of: Callable[..., Distillation], teacher_engine: Engine, tmp_path: Path
) -> None:
    teacher_engine.pipeline.unet.requires_grad_(True)  # as it is loaded, whatever ran before
    straight = distillation_of()
    before = deepcopy(straight.pipeline.unet.state_dict())
    expected = healed(straight, tmp_path / "straight")
    with pytest.raises(Killed):
        healed(distillation_of(), tmp_path / "cut", kill_at=2)
    resumed = healed(distillation_of(), tmp_path / "cut")
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    after = straight.pipeline.unet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
