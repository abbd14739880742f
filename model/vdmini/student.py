"""Students: the stock U-Net classes with the blocks of a `PruningPlan` taken out.

Weight names are the teacher's, except that taking an entry out of a list moves the later ones up (`kept_names` tells
how). What a stock class can express, a stock class is; what none can, is a subclass whose config adds
`removed_blocks`. It leaves training to others.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, TypeVar

import torch
from diffusers import UNet3DConditionModel, UNetSpatioTemporalConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vdmini.plan import PruningPlan, check, layers_of
from vdmini.unet3d_fps import UNet3DFpsConditionModel

PAIR_LISTS = ("resnets", "attentions", "temp_convs", "temp_attentions")
"""The lists of a stage whose entries J together are its pair J."""

Init = TypeVar("Init", bound=Callable[..., None])


class Passthrough(nn.Module):
    """Stands where a middle block was and returns its input: stock forwards call the middle unconditionally."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return `hidden_states` as they are."""
        return hidden_states


def _stock_arguments_and_removed_blocks(stock: Any) -> Callable[[Init], Init]:
    """Give a constructor the stock one's signature plus `removed_blocks`: diffusers reads configs by the signature."""

    def decorate(init: Init) -> Init:
        stock_arguments = inspect.signature(stock.__init__).parameters.values()
        added = inspect.Parameter("removed_blocks", inspect.Parameter.KEYWORD_ONLY, default=())
        init.__signature__ = inspect.Signature([*stock_arguments, added])  # type: ignore[attr-defined]
        registered: Init = register_to_config(init)
        return registered

    return decorate


class VDMiniUNetSpatioTemporal(UNetSpatioTemporalConditionModel):
    """SVD's U-Net without some blocks. Call it as the stock class.

    Args:
        removed_blocks: the plan, by teacher names.

    The remaining arguments are the teacher's. Raises `PlanError` where the plan does not fit them.
    """

    __module__ = "vdmini"  # what a saved pipeline's model_index.json names

    @_stock_arguments_and_removed_blocks(UNetSpatioTemporalConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, PruningPlan.of(removed_blocks))


class VDMiniUNet3D(UNet3DFpsConditionModel):
    """VideoCrafter2's U-Net without some blocks; see `VDMiniUNetSpatioTemporal`."""

    __module__ = "vdmini"

    @_stock_arguments_and_removed_blocks(UNet3DFpsConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, PruningPlan.of(removed_blocks))


class VDMiniUNet3DCondition(UNet3DConditionModel):
    """The stock `UNet3DConditionModel` (ModelScope's) without some blocks; see `VDMiniUNetSpatioTemporal`."""

    __module__ = "vdmini"

    @_stock_arguments_and_removed_blocks(UNet3DConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, PruningPlan.of(removed_blocks))


STUDENT_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    UNetSpatioTemporalConditionModel: VDMiniUNetSpatioTemporal,
    UNet3DFpsConditionModel: VDMiniUNet3D,
    UNet3DConditionModel: VDMiniUNet3DCondition,
}
"""Teacher class -> the class of those of its students that no stock configuration describes."""

UNET_CLASSES: dict[str, type[nn.Module]] = {
    unet_class.__name__: unet_class for unet_class in chain(STUDENT_CLASSES, STUDENT_CLASSES.values())
}
"""Every U-Net class by the `_class_name` of its config.json."""


def build_student(teacher_unet: Any, plan: PruningPlan, *, share_weights: bool = False) -> Any:
    """Take the blocks of a plan out of a teacher's U-Net.

    The teacher is left as it is, and no second copy of the whole teacher is ever allocated. Attention processors,
    hooks and gradient checkpointing do not carry over; dtype, device and train or eval mode do.

    Args:
        teacher_unet: an instance of one of `STUDENT_CLASSES`' keys.
        plan: what to remove.
        share_weights: False copies the kept weights. True lets the student's parameters use the teacher's memory: for
            measuring the two, never for training one.

    Returns:
        The stock class where a stock configuration describes the student, else the class in `STUDENT_CLASSES`.

    Raises:
        PlanError: the plan does not fit; see `vdmini.plan.check`.
        TypeError: the teacher is of another class.
    """
    student = empty_student(type(teacher_unet), teacher_unet.config, plan)
    weights = teacher_unet.state_dict()
    kept = {name: weights[source] for name, source in kept_names(plan, teacher_unet).items()}
    if not share_weights:
        kept = {name: weight.detach().clone() for name, weight in kept.items()}
    student.load_state_dict(kept, assign=True)
    return student.train(teacher_unet.training)


def kept_names(plan: PruningPlan, unet: Any) -> dict[str, str]:
    """Where each weight of the student comes from.

    Args:
        plan: the plan.
        unet: the teacher's U-Net, on any device.

    Returns:
        Student's weight name -> teacher's weight name, for parameters and buffers, in the student's order.

    Raises:
        PlanError: the plan does not fit.
        TypeError: see `build_student`.
    """
    _student_class(type(unet))
    skeleton = _twin(unet)
    names = {id(tensor): name for name, tensor in _tensors(skeleton)}
    remove_blocks(skeleton, plan)
    return {name: names[id(tensor)] for name, tensor in _tensors(skeleton)}


def remove_blocks(unet: Any, plan: PruningPlan) -> None:
    """Take the blocks of a plan out of a whole U-Net, in place, and note them in its config.

    Raises:
        PlanError: the plan does not fit.
    """
    check(plan, {key: value for key, value in unet.config.items() if key != "removed_blocks"})
    for side, resamplers in (("down_blocks", "downsamplers"), ("up_blocks", "upsamplers")):
        stages = getattr(unet, side)
        for i in reversed(range(len(stages))):
            if f"{side}.{i}" in plan.removed:
                del stages[i]
                continue
            _remove_pairs(stages[i], f"{side}.{i}", plan)
            if f"{side}.{i}.{resamplers}.0" in plan.removed:
                setattr(stages[i], resamplers, None)
    if "mid_block" in plan.removed:
        unet.mid_block = Passthrough()
    unet.num_upsamplers = sum(stage.upsamplers is not None for stage in unet.up_blocks)
    unet.register_to_config(removed_blocks=plan.removed)


def _remove_pairs(stage: Any, name: str, plan: PruningPlan) -> None:
    for j in reversed(range(len(stage.resnets))):
        if f"{name}.resnets.{j}" in plan.removed:
            for part in PAIR_LISTS:
                if hasattr(stage, part):
                    del getattr(stage, part)[j]


def empty_unet(unet_class: type[nn.Module], config: Mapping[str, Any]) -> Any:
    """A U-Net on the meta device: modules and shapes, but no memory.

    Args:
        unet_class: any of `UNET_CLASSES`.
        config: its config; private and unknown entries are left out.
    """
    taken = inspect.signature(unet_class.__init__).parameters
    arguments = {key: value for key, value in config.items() if key in taken and not key.startswith("_")}
    with torch.device("meta"):
        unet = unet_class(**arguments)
    return unet.to("meta")  # some parameters start as torch.Tensor([x]), which the context doesn't reach


def empty_student(teacher_class: type[nn.Module], config: Mapping[str, Any], plan: PruningPlan) -> Any:
    """What `build_student` returns, on the meta device.

    Args:
        teacher_class: the teacher's class.
        config: the teacher's config, complete.
        plan: what to remove.

    Raises:
        PlanError: the plan does not fit.
        TypeError: see `build_student`.
    """
    check(plan, config)
    student_class = _student_class(teacher_class)
    stock = stock_layers_per_block(teacher_class, config, plan)
    if stock is not None:
        return empty_unet(teacher_class, {**config, "layers_per_block": stock})
    return empty_unet(student_class, {**config, "removed_blocks": plan.removed})


def stock_layers_per_block(
    teacher_class: type[nn.Module], config: Mapping[str, Any], plan: PruningPlan
) -> int | tuple[int, ...] | None:
    """The `layers_per_block` with which the teacher's class is the student, or None where there is none.

    A plan that fits and removes pairs only keeps one more pair in an Up stage than in its Down stage, each of the stock
    shape. `UNet3DConditionModel` has one number for all stages.
    """
    layers = layers_of(config)
    if any(".resnets." not in name for name in plan.removed):
        return None
    kept = tuple(
        sum(f"down_blocks.{i}.resnets.{j}" not in plan.removed for j in range(count)) for i, count in enumerate(layers)
    )
    if kept == layers:
        return config["layers_per_block"]  # type: ignore[no-any-return]
    if issubclass(teacher_class, UNet3DConditionModel):
        return kept[0] if len(set(kept)) == 1 else None
    depths = config.get("transformer_layers_per_block", 1)
    uniform = isinstance(depths, int) or all(isinstance(depth, int) for depth in depths)
    return kept if uniform else None


def _student_class(teacher_class: type[nn.Module]) -> type[nn.Module]:
    if teacher_class not in STUDENT_CLASSES:
        known = ", ".join(c.__name__ for c in STUDENT_CLASSES)
        raise TypeError(f"cannot prune a {teacher_class.__name__}; teachers are of class {known}")
    return STUDENT_CLASSES[teacher_class]


def _twin(module: nn.Module) -> nn.Module:
    """The same weights in modules of its own, which can be removed; building a U-Net anew takes far longer."""
    made = copy.copy(module)
    made._modules = {name: _twin(child) if child is not None else None for name, child in module._modules.items()}
    return made


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return module.state_dict(keep_vars=True).items()
