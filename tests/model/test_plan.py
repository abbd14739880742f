"""Which plans are accepted, and what is said of those that are not."""

import hashlib
import subprocess
import sys

import pytest

from vdmini import PlanError, PruningPlan
from vdmini.plan import PRESETS, check

CONFIG = {"block_out_channels": (32, 64, 96, 96), "layers_per_block": 2}

PAPER = (
    "down_blocks.0.resnets.1",
    "down_blocks.1.resnets.1",
    "down_blocks.2.downsamplers.0",
    "down_blocks.3",
    "mid_block",
    "up_blocks.0",
    "up_blocks.2.resnets.1",
    "up_blocks.3.resnets.1",
)


def refusal(*names: str, config: dict | None = None) -> PlanError:
    with pytest.raises(PlanError) as caught:
        check(PruningPlan.of(names), config or CONFIG)
    assert caught.value.block in str(caught.value)
    assert caught.value.reason in str(caught.value)
    return caught.value


def test_paper_removes_the_shallow_second_pairs_and_the_innermost_stage():
    assert PruningPlan.preset("paper", CONFIG).removed == PAPER


def test_all_pairs_removes_the_second_pair_of_every_level_and_the_middle():
    removed = PruningPlan.preset("all-pairs", CONFIG).removed
    pairs = [f"{side}_blocks.{i}.resnets.1" for side in ("down", "up") for i in range(4)]
    assert removed == (*pairs[:4], "mid_block", *pairs[4:])


def test_none_removes_nothing():
    assert PruningPlan.preset("none", CONFIG).removed == ()


@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_any_number_of_stages(name, stages):
    config = {"block_out_channels": (32,) * stages, "layers_per_block": 2}
    PruningPlan.preset(name, config)


def test_paper_is_refused_where_there_is_only_one_stage():
    with pytest.raises(PlanError, match=r"down_blocks\.0: the only stage"):
        PruningPlan.preset("paper", {"block_out_channels": (32,), "layers_per_block": 2})


def test_a_preset_is_refused_where_there_is_no_second_pair():
    with pytest.raises(PlanError, match=r"down_blocks\.0\.resnets\.1: the model has no such block"):
        PruningPlan.preset("paper", {"block_out_channels": (32, 32, 32), "layers_per_block": (1, 1, 1)})


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(PlanError, match="papr: no preset has this name; choose one of none, paper, all-pairs"):
        PruningPlan.preset("papr", CONFIG)


def test_a_plan_keeps_its_blocks_in_the_order_in_which_the_teacher_runs_them():
    assert PruningPlan.of(reversed(PAPER)) == PruningPlan.of(PAPER)
    assert PruningPlan.of(["up_blocks.10", "up_blocks.9"]).removed == ("up_blocks.9", "up_blocks.10")


def test_a_plan_survives_its_dictionary():
    plan = PruningPlan.of(PAPER)
    assert PruningPlan.from_dict(plan.to_dict()) == plan


def test_a_plan_removes_the_blocks_inside_a_stage():
    plan = PruningPlan.of(PAPER)
    assert plan.removes("down_blocks.3.resnets.0")
    assert plan.removes("mid_block")
    assert not plan.removes("down_blocks.2.resnets.0")


@pytest.mark.parametrize(
    "name",
    ["conv_in", "down_blocks", "down_blocks.0.resnets", "mid_block.resnets.0", "down_blocks.0.upsamplers.0", ""],
)
def test_a_name_that_is_no_block_is_refused(name):
    with pytest.raises(PlanError, match="this is not a removable block"):
        PruningPlan.of([name])


def test_an_attention_is_refused_with_the_name_of_its_pair():
    with pytest.raises(PlanError, match=r"attentions\.1: .*write down_blocks\.0\.resnets\.1"):
        PruningPlan.of(["down_blocks.0.attentions.1"])


def test_a_block_named_twice_is_refused():
    with pytest.raises(PlanError, match="mid_block: the plan names it twice"):
        PruningPlan.of(["mid_block", "mid_block"])


def test_a_block_inside_a_removed_stage_is_refused():
    with pytest.raises(PlanError, match=r"down_blocks\.3\.resnets\.0: it goes with down_blocks\.3"):
        PruningPlan.of(["down_blocks.3", "down_blocks.3.resnets.0"])


def test_a_block_that_the_model_lacks_is_refused_with_those_it_has():
    assert refusal("down_blocks.0.resnets.7").advice.endswith("down_blocks.0.resnets.1, down_blocks.0.downsamplers.0")
    assert refusal("down_blocks.9").block == "down_blocks.9"
    assert refusal("up_blocks.3.upsamplers.0").block == "up_blocks.3.upsamplers.0"


def test_the_outermost_stage_is_refused():
    assert refusal("down_blocks.0").block == "down_blocks.0"
    assert refusal("up_blocks.3").block == "up_blocks.3"


@pytest.mark.parametrize("missing", ["down_blocks.2.downsamplers.0", "down_blocks.3", "mid_block", "up_blocks.0"])
def test_the_innermost_stage_goes_only_complete(missing):
    assert refusal(*(name for name in PAPER if name != missing)).block in (missing, "up_blocks.0", "mid_block")


def test_a_stage_in_between_does_not_go_alone():
    assert refusal("down_blocks.2", "up_blocks.1", "down_blocks.1.downsamplers.0", "mid_block").block == "down_blocks.3"


def test_the_two_innermost_stages_go_where_the_widths_allow():
    names = [
        "down_blocks.0.downsamplers.0",
        "down_blocks.1",
        "down_blocks.2",
        "mid_block",
        "up_blocks.0",
        "up_blocks.1",
    ]
    check(PruningPlan.of(names), {"block_out_channels": (32, 32, 32), "layers_per_block": 2})
    error = refusal(*names, config={"block_out_channels": (32, 64, 64), "layers_per_block": 2})
    assert error.block == "up_blocks.2.resnets.0"
    assert "take 64 channels, but 32 would reach it" in error.reason


def test_a_stage_without_any_pair_is_refused():
    error = refusal(
        "down_blocks.1.resnets.0", "down_blocks.1.resnets.1", "up_blocks.2.resnets.0", "up_blocks.2.resnets.1"
    )
    assert error.block == "down_blocks.1"


def test_a_down_pair_without_an_up_pair_is_refused_naming_both_sides():
    error = refusal("down_blocks.0.resnets.1")
    assert "no skip connection would be left" in error.reason
    assert "down_blocks.0.resnets.1" in error.reason
    assert "up_blocks.3" in error.advice


def test_an_up_pair_without_a_down_pair_is_refused():
    assert "up_blocks.3.resnets.1" in refusal("up_blocks.3.resnets.1").reason


def test_the_pair_that_changes_the_width_is_refused():
    error = refusal("down_blocks.1.resnets.0", "up_blocks.2.resnets.1")
    assert error.block == "down_blocks.1.resnets.1"
    assert "take 64 channels, but 32 would reach it" in error.reason


def test_a_skip_of_the_wrong_width_is_refused():
    error = refusal("down_blocks.1.resnets.1", "up_blocks.2.resnets.2")
    assert "up_blocks.2.resnets.2" in error.reason


def test_a_downsampler_alone_is_refused_for_the_sizes_that_no_longer_match():
    assert refusal("down_blocks.2.downsamplers.0").block.startswith("up_blocks.1")


def test_a_downsampler_goes_with_its_upsampler_and_the_pair_that_took_its_skip():
    check(PruningPlan.of(["down_blocks.2.downsamplers.0", "up_blocks.0.resnets.2", "up_blocks.0.upsamplers.0"]), CONFIG)


def test_a_student_is_not_pruned_again():
    assert refusal("mid_block", config={**CONFIG, "removed_blocks": PAPER}).block == PAPER[0]


def test_importing_vdmini_imports_neither_torch_nor_diffusers():
    code = "import sys, vdmini; print(sorted({'torch', 'diffusers'} & set(sys.modules)), vdmini.PruningPlan.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["[]", "PruningPlan"]


def test_vdmini_says_what_it_does_not_have():
    import vdmini

    with pytest.raises(AttributeError, match="nonsense"):
        _ = vdmini.nonsense


def test_two_plans_share_a_hash_only_when_they_remove_the_same_blocks() -> None:
    names = ("down_blocks.0.resnets.1", "up_blocks.3.resnets.1")
    assert PruningPlan(names).sha256 == PruningPlan(names[::-1]).sha256
    hashes = {PruningPlan(removed).sha256 for removed in ((), names[:1], names[1:], names)}
    assert len(hashes) == 4
    assert PruningPlan().sha256 == hashlib.sha256(b"[]").hexdigest()
