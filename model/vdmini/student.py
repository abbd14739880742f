"""Students: the stock U-Net classes with the blocks of a `PruningPlan` taken out.

Weight names are the teacher's, except that taking an entry out of a list moves the later ones up (`kept_names` tells
how). What a stock class can express, a stock class is; what none can, is a subclass whose config adds
`removed_blocks`. It leaves training to others.
"""

import copy
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vdmini.families import families, family_of
from vdmini.plan import PruningPlan, check, layers_of
from vdmini.removal import remove_blocks


def unet_classes() -> dict[str, type[nn.Module]]:
    """Every U-Net class of the families, teachers' first, by the `_class_name` of its config.json."""
    classes = [family.unet_class for family in families()] + [family.student_class for family in families()]
    return {unet_class.__name__: unet_class for unet_class in classes}


def build_student(teacher_unet: Any, plan: PruningPlan, *, share_weights: bool = False) -> Any:
    """Take the blocks of a plan out of a teacher's U-Net.

    The teacher is left as it is, and no second copy of the whole teacher is ever allocated. Attention processors,
    hooks and gradient checkpointing do not carry over; dtype, device and train or eval mode do.

    Args:
        teacher_unet: of the class of a family's teachers.
        plan: what to remove.
        share_weights: False copies the kept weights. True lets the student's parameters use the teacher's memory: for
            measuring the two, never for training one.

    Returns:
        The stock class where a stock configuration describes the student, else the `student_class` of the family.

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
    remove_blocks(skeleton, plan.removed)
    return {name: names[id(tensor)] for name, tensor in _tensors(skeleton)}


def empty_unet(unet_class: type[nn.Module], config: Mapping[str, Any]) -> Any:
    """A U-Net on the meta device: modules and shapes, but no memory.

    Args:
        unet_class: any of `unet_classes`.
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
    shape. Some classes have one number for all stages.
    """
    layers = layers_of(config)
    if any(".resnets." not in name for name in plan.removed):
        return None
    kept = tuple(
        sum(f"down_blocks.{i}.resnets.{j}" not in plan.removed for j in range(count)) for i, count in enumerate(layers)
    )
    if kept == layers:
        return config["layers_per_block"]  # type: ignore[no-any-return]
    if not family_of(teacher_class).stages_may_differ:
        return kept[0] if len(set(kept)) == 1 else None
    depths = config.get("transformer_layers_per_block", 1)
    uniform = isinstance(depths, int) or all(isinstance(depth, int) for depth in depths)
    return kept if uniform else None


def _student_class(teacher_class: type[nn.Module]) -> type[nn.Module]:
    for family in families():
        if family.unet_class is teacher_class:
            return family.student_class
    known = ", ".join(family.unet_class.__name__ for family in families())
    raise TypeError(f"cannot prune a {teacher_class.__name__}; teachers are of class {known}")


def _twin(module: nn.Module) -> nn.Module:
    """The same weights in modules of its own, which can be removed; building a U-Net anew takes far longer."""
    made = copy.copy(module)
    made._modules = {name: _twin(child) if child is not None else None for name, child in module._modules.items()}
    return made


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return module.state_dict(keep_vars=True).items()
