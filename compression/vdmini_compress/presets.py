"""Named plans to compare `paper` with: they remove as much, but other blocks.

Each walks through the units of a U-Net in an order of its own and removes what brings it nearer to the number of
parameters (or FLOPs) that `paper` leaves. Parameters are the default: most FLOPs sit in one shallow unit, so a plan
that spares the shallow stages cannot save as many.
"""

import random
from collections.abc import Iterable
from typing import Any

import torch

from vdmini.plan import PRESETS, PlanError, PruningPlan
from vdmini_compress.units import Unit, UnitCosts, modules_of, plan_of, units_of

ORDERS = ("deep", "magnitude", "random")
MEASURES = ("parameters", "flops")


def plan_named(name: str, unet: Any, *, num_frames: int, height: int, width: int) -> PruningPlan:
    """A plan by its name, checked.

    Args:
        name: a preset of `vdmini.plan.PRESETS`; or "deep" (deepest units first), "magnitude" (smallest mean absolute
            weight first) or "random:SEED", each with ":flops" behind it to match FLOPs instead of parameters.
        unet: the teacher's, with its weights.
        num_frames: of the clip whose FLOPs are matched.
        height: of its latents.
        width: of its latents.

    Raises:
        PlanError: the name is unknown, or the U-Net is too small.
    """
    if name in PRESETS:
        return PruningPlan.preset(name, unet)
    order, *rest = name.split(":")
    measure = rest.pop() if rest and rest[-1] in MEASURES else "parameters"
    if order not in ORDERS or len(rest) != (order == "random") or not all(part.isdigit() for part in rest):
        raise PlanError(
            name,
            "no plan has this name",
            f"choose one of {', '.join(PRESETS)}, deep, magnitude, random:SEED (such as random:7), or list blocks",
        )
    costs = UnitCosts.of(unet, num_frames=num_frames, height=height, width=width)
    paper = set(PruningPlan.preset("paper", unet).removed)
    enough = costs.left(u for u in units_of(unet) if paper >= set(u.blocks))[measure]
    return plan_of(_towards(_ordered(order, unet, rest), costs, measure, enough))


def _ordered(order: str, unet: Any, rest: list[str]) -> list[Unit]:
    units = list(units_of(unet))
    if order == "random":
        random.Random(int(rest[0])).shuffle(units)  # noqa: S311 - a comparison, not a secret
        return units
    if order == "deep":
        # Of one level the middle goes first, then the stage as a whole; pairs that are left come after it.
        return sorted(units, key=lambda u: (-u.level, u.inner_from is None, u.blocks != ("mid_block",)))
    return sorted(units, key=lambda u: mean_magnitude(unet, u))


def _towards(units: Iterable[Unit], costs: UnitCosts, measure: str, target: float) -> list[Unit]:
    """The units of an order that, one after the other, bring what is left nearer to the target."""
    gone: list[Unit] = []
    for unit in units:
        before, after = (abs(costs.left(some)[measure] - target) for some in (gone, [*gone, unit]))
        if after < before - 1e-9:
            gone.append(unit)
    return gone


def mean_magnitude(unet: Any, unit: Unit) -> float:
    """Mean absolute weight of what a unit takes along."""
    names = [name for block in unit.blocks for name in modules_of(unet, block)]
    weights = [p.detach().abs().double() for name in names for p in unet.get_submodule(name).parameters()]
    return float(torch.stack([w.sum() for w in weights]).sum() / sum(w.numel() for w in weights))
