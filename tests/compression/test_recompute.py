"""Recomputing activations changes what a pass keeps and nothing of what it computes."""

from typing import Any

import pytest
import torch

from vdmini.cost import activation_bytes
from vdmini.engine import Engine
from vdmini.plan import PruningPlan
from vdmini.student import build_student, empty_unet
from vdmini_compress.data import WORLDS
from vdmini_compress.recipe import Distill
from vdmini_compress.recompute import recomputed
from vdmini_compress.training import generator_for


def gradients(student: Any, batch: Any, *, wanted: bool) -> list[torch.Tensor]:
    with recomputed(student, wanted=wanted):
        loss = batch.run(student).square().mean()
        return list(torch.autograd.grad(loss, list(student.parameters()), allow_unused=True))


def test_recomputed_gradients_are_the_same(teacher_engine: Engine, task: str) -> None:
    pipeline = teacher_engine.pipeline
    with torch.no_grad():
        cache = WORLDS[task].encode(pipeline, 2, 0, lambda _: None)
    batch = WORLDS[task].draw(pipeline, cache, Distill(steps=1, batch_size=1, learning_rate=1e-3), generator_for(0, 0))
    student = build_student(pipeline.unet, PruningPlan.preset("paper", pipeline.unet)).eval().requires_grad_(True)
    kinds = [type(module) for module in student.modules()]
    plain, again = (gradients(student, batch, wanted=wanted) for wanted in (False, True))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert [type(module) for module in student.modules()] == kinds


@pytest.mark.parametrize("task", ["i2v"], indirect=True, scope="session")
def test_recomputed_blocks_keep_less(teacher_engine: Engine) -> None:
    unet = empty_unet(type(teacher_engine.pipeline.unet), teacher_engine.pipeline.unet.config)
    whole = activation_bytes(unet, num_frames=8, height=8, width=8)
    with recomputed(unet):
        kept = activation_bytes(unet, num_frames=8, height=8, width=8)
    assert kept < whole / 3
