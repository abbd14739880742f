"""Students against their teachers: they run, keep their weights, survive a save, and are stock where they can be.

Whether a plan is valid is decided here without `vdmini.plan`: by deleting the modules and running what is left, with
every ResBlock watched for the channels that its residual and its skip had in the teacher.
"""

import copy
import functools
import itertools
import json

import pytest
import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

import vdmini
from vdmini import PlanError, PruningPlan, build_student, kept_names
from vdmini.removal import Passthrough
from vdmini.student import empty_unet

LEVELS = 4
INNERMOST = ("down_blocks.2.downsamplers.0", "down_blocks.3", "mid_block", "up_blocks.0")
FIXTURES = ("tiny_svd", "tiny_fps", "tiny_unet3d")
few_examples = settings(
    max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@pytest.fixture(params=FIXTURES)
def teacher(request) -> nn.Module:
    return request.getfixturevalue(request.param)


def inputs_of(unet: nn.Module, size: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    config = unet.config
    shape = (1, 2, config["in_channels"], size, size)
    made = {
        "timestep": torch.tensor([3.0]),
        "encoder_hidden_states": torch.randn(1, 1, 16, generator=generator),
        "sample": torch.randn(shape, generator=generator),
    }
    if isinstance(unet, UNetSpatioTemporalConditionModel):
        return made | {"added_time_ids": torch.tensor([[6.0, 127.0, 0.02]])}
    made["sample"] = made["sample"].transpose(1, 2)
    if isinstance(unet, vdmini.UNet3DFpsConditionModel):
        made["timestep_cond"] = torch.randn(1, 9, generator=generator)
    return made


@torch.no_grad()
def run(unet: nn.Module, size: int = 8) -> torch.Tensor:
    return unet(**inputs_of(unet, size)).sample


def in_memory(unet: nn.Module) -> nn.Module:
    """The same weights, copied: mapped from a file they may lie unaligned, and some CPUs then sum in another order."""
    for parameter in unet.parameters():
        parameter.data = parameter.data.clone()
    return unet.eval()


def pair_names() -> list[str]:
    down = [f"down_blocks.{i}.resnets.{j}" for i in range(LEVELS) for j in range(2)]
    return down + [f"up_blocks.{i}.resnets.{j}" for i in range(LEVELS) for j in range(3)]


@st.composite
def plans(draw) -> tuple[str, ...]:
    """Mostly plans that come close to a valid one: a few levels balanced, then perhaps one more block added or lost."""
    names: set[str] = set()
    for level in range(LEVELS):
        for _ in range(draw(st.sampled_from([0, 0, 1, 1]))):
            names.add(f"down_blocks.{level}.resnets.{draw(st.sampled_from([0, 1, 1]))}")
            names.add(f"up_blocks.{LEVELS - 1 - level}.resnets.{draw(st.sampled_from([0, 1, 1, 1, 2]))}")
    if draw(st.booleans()):
        names.add("mid_block")
    if draw(st.booleans()):
        names = {n for n in names if not n.startswith(("down_blocks.3", "up_blocks.0"))} | set(INNERMOST)
    resamplers = [f"down_blocks.{i}.downsamplers.0" for i in range(3)] + [
        f"up_blocks.{i}.upsamplers.0" for i in range(3)
    ]
    stages = [f"{side}_blocks.{i}" for side in ("down", "up") for i in range(LEVELS)]
    disturbance = draw(st.sampled_from(["none", "none", "toggle", "resamplers"]))
    if disturbance == "toggle":
        names ^= {draw(st.sampled_from([*pair_names(), *resamplers, *stages, "mid_block"]))}
    if disturbance == "resamplers":
        level = draw(st.integers(0, 2))
        names |= {resamplers[level], resamplers[3 + 2 - level]}
        names |= {f"up_blocks.{2 - level}.resnets.2"} if draw(st.booleans()) else set()
    return tuple(n for n in names if "." not in n or n.count(".") == 1 or ".".join(n.split(".")[:2]) not in names)


def twin(module: nn.Module) -> nn.Module:
    """A copy with the same weights and modules of its own; a deep copy takes longer than all that is tested on it."""
    made = copy.copy(module)
    made.__dict__["_modules"] = {name: child and twin(child) for name, child in module._modules.items()}
    return made


def taken_apart(teacher: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """A twin of the teacher from which the modules were deleted by hand; entries that stay keep their names."""
    unet = twin(teacher)
    for side in ("down_blocks", "up_blocks"):
        for i, stage in enumerate(getattr(unet, side)):
            for part in ("resnets", "attentions", "temp_convs", "temp_attentions"):
                if hasattr(stage, part):
                    kept = [m for j, m in enumerate(getattr(stage, part)) if f"{side}.{i}.resnets.{j}" not in names]
                    setattr(stage, part, nn.ModuleList(kept))
            for part in ("downsamplers", "upsamplers"):
                if f"{side}.{i}.{part}.0" in names:
                    setattr(stage, part, None)
        kept = [m for i, m in enumerate(getattr(unet, side)) if f"{side}.{i}" not in names]
        setattr(unet, side, nn.ModuleList(kept))
    if "mid_block" in names:
        unet.mid_block = Passthrough()
    return unet.eval()


def run_watched(unet: nn.Module) -> tuple[torch.Tensor, dict[str, tuple[int, int]]]:
    """The output, and the residual and skip channels of each labelled up ResBlock during the run."""
    seen: dict[str, tuple[int, int]] = {}

    def watch(stage, args, kwargs):
        residual = kwargs["hidden_states"].shape[1]
        for resnet, skip in zip(stage.resnets, reversed(kwargs["res_hidden_states_tuple"]), strict=True):
            seen[resnet.__dict__["label"]] = (residual, skip.shape[1])
            residual = resnet.__dict__["out_width"]

    handles = [stage.register_forward_pre_hook(watch, with_kwargs=True) for stage in unet.up_blocks]
    try:
        return run(unet), seen
    finally:
        for handle in handles:
            handle.remove()


def label(unet: nn.Module, names: tuple[str, ...] = ()) -> None:
    """Write the teacher's name on every up ResBlock that is left."""
    stages = [i for i in range(LEVELS) if f"up_blocks.{i}" not in names]
    for i, stage in zip(stages, unet.up_blocks, strict=True):
        labels = [f"up_blocks.{i}.resnets.{j}" for j in range(3)]
        for name, resnet in zip([n for n in labels if n not in names], stage.resnets, strict=True):
            weight = next(p for n, p in resnet.named_parameters() if n.endswith("conv1.weight"))
            resnet.__dict__["label"], resnet.__dict__["out_width"] = name, weight.shape[0]


def whole_stages_only(names: tuple[str, ...]) -> bool:
    """The rule that running cannot show: stages go from the innermost outwards, with all that served them alone."""
    for outermost in range(1, LEVELS + 1):
        gone = {f"down_blocks.{i}" for i in range(outermost, LEVELS)} | {
            f"up_blocks.{i}" for i in range(LEVELS - outermost)
        }
        if {n for n in names if n.count(".") == 1} == gone:
            return not gone or {"mid_block", f"down_blocks.{outermost - 1}.downsamplers.0"} <= set(names)
    return False


def output_with_the_teachers_widths(teacher: nn.Module, names: tuple[str, ...]) -> torch.Tensor | None:
    """The output of what is left; None where it cannot run or a ResBlock gets other channels than in the teacher."""
    unet = taken_apart(teacher, names)
    if any(len(stage.resnets) == 0 for stage in itertools.chain(unet.down_blocks, unet.up_blocks)):
        return None
    label(unet, names)
    try:
        output, seen = run_watched(unet)
    except (RuntimeError, ValueError, IndexError):
        return None
    pushed = 1 + sum(len(stage.resnets) + (stage.downsamplers is not None) for stage in unet.down_blocks)
    expected = teachers_widths(teacher)
    if pushed != len(seen) or any(expected[name] != widths for name, widths in seen.items()):
        return None
    return output


@functools.cache
def teachers_widths(teacher: nn.Module) -> dict[str, tuple[int, int]]:
    whole = taken_apart(teacher, ())
    label(whole)
    return run_watched(whole)[1]


def assert_is_the_student(student: nn.Module, teacher: nn.Module, plan: PruningPlan) -> None:
    weights, sources = student.state_dict(), teacher.state_dict()
    names = kept_names(plan, teacher)
    assert list(names) == list(weights)
    assert len(set(names.values())) == len(names)
    for name, source in names.items():
        assert torch.equal(weights[name], sources[source])
    parts = ("attentions", "temp_convs", "temp_attentions")
    gone = {source for source in sources if plan.removes(source)}
    for name in plan.removed:
        if ".resnets." in name:
            gone |= {s for s in sources for part in parts if s.startswith(f"{name.replace('resnets', part)}.")}
    assert set(names.values()) == set(sources) - gone


@few_examples
@given(names=plans())
@pytest.mark.parametrize("fixture", ["tiny_svd", "tiny_fps"])
def test_a_plan_is_accepted_exactly_when_what_it_leaves_runs_with_the_teachers_widths(fixture, names, request):
    teacher = request.getfixturevalue(fixture)
    output = output_with_the_teachers_widths(teacher, names) if whole_stages_only(names) else None
    if output is None:
        with pytest.raises(PlanError) as caught:
            build_student(teacher, PruningPlan.of(names))
        assert str(caught.value).startswith(f"{caught.value.block}: {caught.value.reason}; ")
        assert caught.value.block.startswith(("down_blocks.", "mid_block", "up_blocks."))
        return
    plan = PruningPlan.of(names)
    student = build_student(teacher, plan)
    assert_is_the_student(student, teacher, plan)
    assert torch.equal(run(student), output)


def stock_plans() -> list[tuple[int, ...]]:
    """Every level alone loses its pairs, and all do: any two levels meet in all four ways."""
    return [tuple(2 - (level in lost) for level in range(LEVELS)) for lost in ([0], [1], [2], [3], [0, 1, 2, 3])]


@pytest.mark.parametrize("layers", stock_plans())
def test_a_pairs_only_svd_student_is_the_stock_configuration_bit_for_bit(layers, tiny_svd):
    names = [
        name
        for i, count in enumerate(layers)
        if count == 1
        for name in (f"down_blocks.{i}.resnets.1", f"up_blocks.{LEVELS - 1 - i}.resnets.1")
    ]
    student = build_student(tiny_svd, PruningPlan.of(names))
    assert type(student) is UNetSpatioTemporalConditionModel
    arguments = {key: value for key, value in tiny_svd.config.items() if not key.startswith("_")}
    stock = UNetSpatioTemporalConditionModel(**{**arguments, "layers_per_block": layers})
    stock.load_state_dict(student.state_dict())
    assert dict(student.config) == dict(stock.config)
    assert torch.equal(run(student), run(stock.eval()))


def test_a_pairs_only_svd_student_is_loaded_by_stock_diffusers(tiny_svd, tmp_path):
    plan = PruningPlan.of(["down_blocks.0.resnets.1", "up_blocks.3.resnets.1"])
    student = build_student(tiny_svd, plan)
    student.save_pretrained(tmp_path)
    loaded = UNetSpatioTemporalConditionModel.from_pretrained(tmp_path)
    assert tuple(loaded.config.layers_per_block) == (1, 2, 2, 2)
    assert torch.equal(run(in_memory(loaded)), run(student))


@pytest.mark.parametrize(
    ("fixture", "stock_class"), [("tiny_fps", "UNet3DFpsConditionModel"), ("tiny_unet3d", "UNet3DConditionModel")]
)
def test_a_3d_student_with_one_pair_everywhere_is_of_its_teachers_class(fixture, stock_class, request):
    teacher = request.getfixturevalue(fixture)
    names = [f"{side}_blocks.{i}.resnets.1" for side in ("down", "up") for i in range(LEVELS)]
    student = build_student(teacher, PruningPlan.of(names))
    assert type(student).__name__ == stock_class
    assert student.config.layers_per_block == 1
    assert_is_the_student(student, teacher, PruningPlan.of(names))
    assert run(student).isfinite().all()


@pytest.mark.parametrize("preset", ["paper", "all-pairs"])
def test_a_student_survives_a_save_and_a_load(teacher, preset, tmp_path):
    plan = PruningPlan.preset(preset, teacher)
    student = build_student(teacher, plan)
    assert type(student).__module__ == "vdmini"
    student.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["removed_blocks"] == list(plan.removed)
    assert written["block_out_channels"] == list(teacher.config.block_out_channels)
    loaded = type(student).from_pretrained(tmp_path)
    assert loaded.config.removed_blocks == plan.removed
    assert torch.equal(run(in_memory(loaded)), run(student))


def test_a_student_is_made_again_from_its_config(teacher):
    plan = PruningPlan.preset("paper", teacher)
    student = build_student(teacher, plan)
    again = type(student).from_config(student.config)
    again.load_state_dict(student.state_dict())
    assert torch.equal(run(again.eval()), run(student))


def test_a_student_of_the_paper_plan_has_three_stages_and_two_upsamplers(teacher):
    student = build_student(teacher, PruningPlan.preset("paper", teacher))
    assert (len(student.down_blocks), len(student.up_blocks), student.num_upsamplers) == (3, 3, 2)
    assert student.down_blocks[2].downsamplers is None


@pytest.mark.parametrize("preset", ["none", "paper", "all-pairs"])
def test_a_student_takes_sizes_that_are_no_multiple_of_its_scale(teacher, preset):
    student = build_student(teacher, PruningPlan.preset(preset, teacher))
    assert run(student, size=10).shape[-2:] == (10, 10)


def test_removing_an_entry_moves_the_later_ones_up(tiny_svd):
    names = kept_names(PruningPlan.preset("paper", tiny_svd), tiny_svd)
    key = "spatial_res_block.conv1.weight"
    assert names[f"up_blocks.1.resnets.0.{key}"] == f"up_blocks.2.resnets.0.{key}"
    assert names[f"up_blocks.1.resnets.1.{key}"] == f"up_blocks.2.resnets.2.{key}"
    assert names["conv_in.weight"] == "conv_in.weight"


def test_a_plan_of_nothing_gives_an_equal_copy(teacher):
    student = build_student(teacher, PruningPlan())
    assert type(student) is type(teacher)
    assert torch.equal(run(student), run(teacher))


def test_a_student_owns_its_weights_unless_it_is_told_to_share_them(teacher):
    plan = PruningPlan.preset("paper", teacher)
    own, shared = build_student(teacher, plan), build_student(teacher, plan, share_weights=True)
    assert own.conv_in.weight.data_ptr() != teacher.conv_in.weight.data_ptr()
    assert shared.conv_in.weight.data_ptr() == teacher.conv_in.weight.data_ptr()
    assert torch.equal(run(own), run(shared))


def test_a_student_keeps_mode_and_dtype_and_can_be_trained(tiny_fps):
    half = copy.deepcopy(tiny_fps).to(torch.bfloat16).requires_grad_(False).train()
    student = build_student(half, PruningPlan.preset("paper", half))
    assert student.training
    assert student.dtype is torch.bfloat16
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in student.parameters())


def test_a_gradient_reaches_every_weight_of_a_student_and_none_of_its_teacher(tiny_fps):
    student = build_student(tiny_fps, PruningPlan.preset("paper", tiny_fps))
    student(**inputs_of(student)).sample.square().mean().backward()
    assert all(p.grad is not None for n, p in student.named_parameters())
    assert all(p.grad is None for p in tiny_fps.parameters())


def test_a_student_is_not_pruned_again(teacher):
    student = build_student(teacher, PruningPlan.preset("paper", teacher))
    with pytest.raises((PlanError, TypeError), match=r"student|cannot prune"):
        build_student(student, PruningPlan.of(["mid_block"]))


def test_a_model_that_is_no_teacher_is_refused():
    with pytest.raises(TypeError, match="cannot prune a Linear"):
        kept_names(PruningPlan(), nn.Linear(1, 1))


def test_a_student_class_refuses_blocks_that_its_config_lacks(tiny_svd):
    config = {**tiny_svd.config, "removed_blocks": ("down_blocks.7",)}
    with pytest.raises(PlanError, match=r"down_blocks\.7"):
        empty_unet(vdmini.VDMiniUNetSpatioTemporal, config)


def test_a_stock_unet3d_loads_no_student_by_mistake(tiny_unet3d, tmp_path):
    build_student(tiny_unet3d, PruningPlan.preset("all-pairs", tiny_unet3d)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Cannot load"):
        UNet3DConditionModel.from_pretrained(tmp_path)


def test_diffusers_loads_a_saved_pipeline_with_a_student_in_it(tiny_svd, tmp_path):
    student = build_student(tiny_svd, PruningPlan.preset("paper", tiny_svd))
    vision = CLIPVisionConfig(
        image_size=32, patch_size=32, hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    pipeline = StableVideoDiffusionPipeline(
        vae=AutoencoderKLTemporalDecoder(block_out_channels=(32,), down_block_types=("DownEncoderBlock2D",)),
        image_encoder=CLIPVisionModelWithProjection(vision),
        unet=student,
        scheduler=EulerDiscreteScheduler(),
        feature_extractor=CLIPImageProcessor(),
    )
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["unet"] == ["vdmini", "VDMiniUNetSpatioTemporal"]
    loaded = DiffusionPipeline.from_pretrained(tmp_path)
    assert type(loaded.unet) is vdmini.VDMiniUNetSpatioTemporal
    assert torch.equal(run(in_memory(loaded.unet)), run(student))
