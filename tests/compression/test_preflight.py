"""A job says what it needs before it starts, and one that cannot fit is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from vdmini.cost import activation_bytes
from vdmini.engine import Engine
from vdmini.plan import PruningPlan
from vdmini_compress import preflight
from vdmini_compress.planning import find_subject
from vdmini_compress.preflight import BYTES_PER_WEIGHT, WHOLE_BYTES
from vdmini_compress.pruning import latent_size, resolve_plan
from vdmini_compress.recipe import load_recipe

UNCOUNTED = "distill.steps=0"
"""Leaves activations out, which take seconds to count."""


def kept_by_a_real_pass(unet: nn.Module, engine: Engine) -> int:
    """Bytes that autograd really keeps while the U-Net runs on one clip."""
    weights = {p.untyped_storage().data_ptr() for p in unet.state_dict().values()}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    size = latent_size(engine)
    shape = (1, size["num_frames"], unet.config["in_channels"], size["height"], size["width"])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        unet(torch.randn(shape), torch.tensor([1.0]), torch.randn(1, 1, 32), added_time_ids=torch.ones(1, 3))
    return sum(kept.values())


def test_counted_activations_are_those_that_autograd_keeps(root: Path) -> None:
    from vdmini.engine import load_engine

    engine = load_engine(root / "compression/teachers/small-i2v", device="cpu", dtype="float32")
    unet = engine.pipeline.unet.requires_grad_(True)
    counted = activation_bytes(unet, **latent_size(engine))
    assert counted == pytest.approx(kept_by_a_real_pass(unet, engine), rel=0.05)


def test_a_full_size_models_activations_are_counted_without_memory() -> None:
    unet = find_subject("svd").unet
    counted = activation_bytes(unet, num_frames=14, height=72, width=128)
    assert 20e9 < counted < 2000e9


def test_needs_follow_the_recipe(root: Path, teacher_engine: Engine, task: str) -> None:
    path = root / "compression" / "recipes" / f"small-{task}.yaml"
    plan = resolve_plan("paper", teacher_engine)
    small = preflight.needs(load_recipe(path), teacher_engine, plan)
    twice = preflight.needs(load_recipe(path, ["distill.batch_size=16"]), teacher_engine, plan)
    eight_bit = preflight.needs(load_recipe(path, ["distill.optimizer=adamw-8bit", UNCOUNTED]), teacher_engine, plan)
    whole = preflight.needs(load_recipe(path, [UNCOUNTED]), teacher_engine, PruningPlan())
    assert twice.activations == 2 * small.activations
    assert eight_bit.weights < small.weights < whole.weights
    assert "of disk and" in str(small)


def test_sharing_out_a_student_needs_less_memory_in_each_process(root: Path, teacher_engine: Engine, task: str) -> None:
    path = root / "compression" / "recipes" / f"small-{task}.yaml"
    plan, sharded = resolve_plan("paper", teacher_engine), load_recipe(path, ["distill.sharding=full", UNCOUNTED])
    alone, two, four = (preflight.needs(sharded, teacher_engine, plan, processes=count).weights for count in (1, 2, 4))
    assert alone == preflight.needs(load_recipe(path, [UNCOUNTED]), teacher_engine, plan, processes=4).weights
    per_weight = BYTES_PER_WEIGHT["adamw"]
    assert (two - four) / (alone - two) == pytest.approx((per_weight / 4) / (per_weight / 2 - WHOLE_BYTES), rel=1e-6)


def test_too_little_disk_or_memory_is_refused_with_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    fits = preflight.Needs(disk=1, weights=1, activations=1)
    preflight.check(fits, tmp_path / "new", cpu)
    assert (tmp_path / "new").is_dir()
    with pytest.raises(preflight.PreflightError, match=r"free and the job needs \d+\.\d GiB; free some space"):
        preflight.check(preflight.Needs(disk=2**60, weights=1, activations=1), tmp_path, cpu)
    with pytest.raises(preflight.PreflightError, match=r"the weights alone need \d+\.\d GiB; set distill.optimizer"):
        preflight.check(preflight.Needs(disk=1, weights=2**60, activations=1), tmp_path, cpu)
