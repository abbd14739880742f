"""Taking blocks out of a U-Net in place, and the constructors of the classes whose blocks are taken out.

It leaves copying weights and choosing a class to `vdmini.student`, and the classes to their families.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from vdmini.plan import PruningPlan, check

PAIR_LISTS = ("resnets", "attentions", "temp_convs", "temp_attentions")
"""The lists of a stage whose entries J together are its pair J."""

Init = TypeVar("Init", bound=Callable[..., None])


class Passthrough(nn.Module):
    """Stands where a middle block was and returns its input: stock forwards call the middle unconditionally."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return `hidden_states` as they are."""
        return hidden_states


def stock_arguments_and_removed_blocks(stock: Any) -> Callable[[Init], Init]:
    """Give a constructor the stock one's signature plus `removed_blocks`: diffusers reads configs by the signature."""

    def decorate(init: Init) -> Init:
        stock_arguments = inspect.signature(stock.__init__).parameters.values()
        added = inspect.Parameter("removed_blocks", inspect.Parameter.KEYWORD_ONLY, default=())
        init.__signature__ = inspect.Signature([*stock_arguments, added])  # type: ignore[attr-defined]
        registered: Init = register_to_config(init)
        return registered

    return decorate


def remove_blocks(unet: Any, removed: Iterable[str]) -> None:
    """Take blocks out of a whole U-Net, in place, and note them in its config.

    Args:
        unet: a teacher's, on any device.
        removed: names as in a `PruningPlan`.

    Raises:
        PlanError: the plan does not fit.
    """
    plan = PruningPlan.of(removed)
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
