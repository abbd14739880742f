"""The dry run of a recipe: it needs no weights, follows the settings, and agrees with what is really kept."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vdmini.families import FAMILY_NAMES
from vdmini_compress import recipe_planning
from vdmini_compress.cli import main
from vdmini_compress.estimate import PEAK
from vdmini_compress.footprint import Footprint, Precision
from vdmini_compress.planning import PlanningError
from vdmini_compress.recipe import Recipe, load_recipe
from vdmini_compress.recipe_planning import plan_recipe

FULL = ("svd-i2v", "svd-xt-i2v", "t2v-turbo-v2", "svd-single-forward")
WEIGHT = 100 * 100 * 4


def layers(count: int) -> nn.ModuleList:
    with torch.device("meta"):
        return nn.ModuleList([nn.Sequential(nn.Linear(100, 100), nn.SiLU(), nn.Linear(100, 100)) for _ in range(count)])


def peak(net: nn.ModuleList, *, again: bool) -> float:
    """In weights of a layer; every activation is as large as one."""
    footprint, hidden = Footprint(), torch.empty(100, 100, device="meta")
    with footprint:
        for layer in net:
            hidden = checkpoint(layer, hidden, use_reentrant=False) if again else layer(hidden)
        gradients = torch.autograd.grad(hidden.sum(), list(net.parameters()))
    assert len(gradients) == 4 * len(net)
    return footprint.peak / WEIGHT


def test_a_footprint_counts_what_is_alive_at_a_time() -> None:
    net = layers(10)
    assert peak(net, again=False) == pytest.approx(32, abs=0.5)  # three activations a layer, and what ends the pass
    assert peak(net, again=True) == pytest.approx(24, abs=0.5)  # the gradients, and one layer computed again


def test_a_footprint_counts_the_products_of_both_passes() -> None:
    layer = nn.Linear(100, 100, bias=False, device="meta")
    with Footprint() as footprint:
        torch.autograd.grad(layer(torch.empty(50, 100, device="meta")).sum(), list(layer.parameters()))
    assert footprint.flops == 2 * (2 * 50 * 100 * 100)


def test_what_goes_through_a_footprint_is_not_counted_and_what_dies_is_given_back() -> None:
    weight = torch.empty(100, 100, device="meta")
    with Footprint() as footprint:
        made = weight.t() @ weight
        assert footprint.alive == WEIGHT
        del made
        assert footprint.alive == 0


def test_products_are_cast_down_and_norms_up_as_on_a_gpu() -> None:
    hidden = torch.empty(2, 32, 8, 8, device="meta")
    conv, norm = nn.Conv2d(32, 32, 3, device="meta"), nn.GroupNorm(4, 32, device="meta")
    with Precision("bfloat16"):
        assert conv(hidden).dtype is torch.bfloat16
        assert norm(conv(hidden)).dtype is torch.float32
        query = torch.empty(1, 2, 16, 8, device="meta")
        assert nn.functional.scaled_dot_product_attention(query, query, query).dtype is torch.bfloat16
    with Precision("float32"):
        assert conv(hidden).dtype is torch.float32


@pytest.mark.parametrize("name", FULL)
def test_a_full_size_recipe_is_whole_and_names_its_family(root: Path, name: str) -> None:
    recipe = load_recipe(root / "compression" / "recipes" / f"{name}.yaml")
    assert recipe.family in FAMILY_NAMES
    assert recipe.distill.gradient_checkpointing
    assert recipe.evaluate.suite == "videos"


@pytest.fixture(scope="module")
def small(root: Path) -> Recipe:
    """A full-size recipe on the committed teacher."""
    path = root / "compression" / "recipes" / "svd-i2v.yaml"
    videos = ["data.videos.width=64", "data.videos.height=64", "data.videos.num_frames=4"]
    changes = [*videos, "distill.encoder=null", "distill.shards=4", "decoder.window=8", "distill.lambda_mca=0"]
    return load_recipe(path, changes).model_copy(update={"teacher": root / "compression" / "teachers" / "small-i2v"})


def test_a_recipes_dry_run_follows_its_teacher_and_its_settings(small: Recipe) -> None:
    planned = plan_recipe(small, tflops=1e-3)
    assert planned.report.size == (64, 64, 8)
    told = planned.wanted.as_dict()
    student = planned.report.student.parameters
    assert told["memory"]["student"] == told["memory"]["average"] == 4 * student
    assert told["memory"]["moments"] == 8 * student
    assert told["memory"]["gradients of earlier batches"] == 4 * student
    assert told["memory"][PEAK] > 4 * student
    assert told["memory_total_with_checkpointing"] < told["memory_total_without_checkpointing"]
    assert told["seconds_per_step"] == pytest.approx(told["step_flops"] / 1e9)
    assert told["step_flops"] > 4 * 4 * planned.report.student.flops / 2  # 4 batches of half a clip's frames
    assert told["disk"]["artifact"] > 2 * student


def test_a_folder_that_is_not_there_needs_a_family(small: Recipe, tmp_path: Path) -> None:
    with pytest.raises(PlanningError, match="the recipe's family is None; make the teacher first, or name its family"):
        plan_recipe(small.model_copy(update={"teacher": tmp_path / "none", "family": None}))


def test_a_budget_is_searched_in_the_recipes_importance(
    root: Path, small: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_planning, "estimate", lambda *_, **__: None)  # the test above takes its time
    report = root / "benchmarks/results/2026-11-26-small-i2v-finished-importance-seed-0.json"
    wanted = {"plan": "parameters=0.7"}
    planned = plan_recipe(small.model_copy(update=wanted | {"importance": report}))
    assert planned.report.student.parameters <= 0.7 * planned.report.teacher.parameters
    with pytest.raises(PlanningError, match=r"no plan leaves 0\.01 of the parameters or less"):
        plan_recipe(small.model_copy(update=wanted | {"importance": report, "plan": "parameters=0.01"}))
    strange = report.with_name("2026-11-26-small-t2v-importance-seed-0.json")
    with pytest.raises(PlanningError, match="was measured on small-t2v"):
        plan_recipe(small.model_copy(update=wanted | {"importance": strange}))


def test_a_recipe_that_cannot_be_planned_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(root / "compression" / "recipes" / "svd-i2v.yaml")
    assert main(["plan", path, "--set", "plan=latency=0.5"]) == 1
    assert "is a budget, which is searched in measurements of the teacher" in capsys.readouterr().err
    assert main(["plan", path, "--set", "distill.steps=-1"]) == 1
    assert "distill.steps: Input should be greater than or equal to 0" in capsys.readouterr().err
