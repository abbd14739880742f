"""Units of pruning: blocks that can only go together, so that any set of units is a plan that fits.

A unit is a pair of a Down stage with the pair of the same number in its Up stage, the middle, or an inner stage with
everything further in. It leaves the rules to `vdmini.plan`.
"""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from vdmini.cost import unet_flops
from vdmini.plan import PlanError, PruningPlan, check, config_of, layers_of
from vdmini.student import empty_unet


@dataclass(frozen=True)
class Unit:
    """Blocks that go together.

    Args:
        label: in words.
        blocks: names for a `PruningPlan`.
        level: of the stage, 0 being the outermost.
        inner_from: for a stage, the level from which everything goes; else None.
    """

    label: str
    blocks: tuple[str, ...]
    level: int
    inner_from: int | None = None


def units_of(unet: Any) -> tuple[Unit, ...]:
    """All units of a U-Net or of its config, shallow to deep.

    The first pair of a stage changes its width, so no unit holds one but a whole stage; the outermost stage stays, and
    so does a stage without which the width would not fit.
    """
    config = config_of(unet)
    stages, layers = len(config["block_out_channels"]), layers_of(config)
    pairs = [
        Unit(
            f"pair {j} of level {i}",
            (f"down_blocks.{i}.resnets.{j}", f"up_blocks.{stages - 1 - i}.resnets.{j}"),
            i,
        )
        for i in range(stages)
        for j in range(1, layers[i])
    ]
    inner = [_inner(level, stages) for level in reversed(range(1, stages))]
    return (*pairs, Unit("middle", ("mid_block",), stages - 1), *(unit for unit in inner if _fits(unit, config)))


def _fits(unit: Unit, config: Mapping[str, Any]) -> bool:
    try:
        check(plan_of([unit]), config)
    except PlanError:
        return False
    return True


def _inner(level: int, stages: int) -> Unit:
    blocks = [f"down_blocks.{level - 1}.downsamplers.0", "mid_block"]
    for i in range(level, stages):
        blocks += [f"down_blocks.{i}", f"up_blocks.{stages - 1 - i}"]
    return Unit(
        f"levels {level} to {stages - 1}" if level < stages - 1 else f"level {level}", tuple(blocks), level, level
    )


def outermost(units: Iterable[Unit]) -> tuple[Unit, ...]:
    """The units of a set that lie in no other unit of it."""
    chosen = tuple(dict.fromkeys(units))
    edge = min((u.inner_from for u in chosen if u.inner_from is not None), default=None)
    if edge is None:
        return chosen
    return tuple(u for u in chosen if u.inner_from == edge or (u.inner_from is None and _outside(u, edge)))


def _outside(unit: Unit, edge: int) -> bool:
    return unit.level < edge and unit.blocks != ("mid_block",)


def plan_of(units: Iterable[Unit]) -> PruningPlan:
    """The plan that removes a set of units."""
    return PruningPlan.of(block for unit in outermost(units) for block in unit.blocks)


def modules_of(unet: Any, block: str) -> tuple[str, ...]:
    """Names of a block's modules: of a pair, its ResBlock, attention and temporal parts."""
    stage, _, index = block.rpartition(".resnets.")
    if not stage:
        return (block,)
    parts = ("resnets", "attentions", "temp_convs", "temp_attentions")
    return tuple(f"{stage}.{part}.{index}" for part in parts if hasattr(unet.get_submodule(stage), part))


@dataclass(frozen=True)
class UnitCosts:
    """What a U-Net costs, and how much less without each of its units.

    Args:
        parameters: of the U-Net.
        flops: of one forward pass.
        saved: unit -> parameters and FLOPs that it takes along.
    """

    parameters: int
    flops: int
    saved: Mapping[Unit, tuple[int, int]]

    @staticmethod
    def of(unet: Any, *, num_frames: int, height: int, width: int) -> "UnitCosts":
        """Count a teacher's U-Net at a size of its latents; nothing is allocated."""
        return _counted(cast("Hashable", type(unet)), json.dumps(dict(unet.config)), num_frames, height, width)

    def left(self, units: Iterable[Unit]) -> dict[str, float]:
        """The shares of "parameters" and "flops" that are left without these units: units don't share any."""
        gone = [self.saved[unit] for unit in outermost(units)]
        return {
            "parameters": 1 - sum(p for p, _ in gone) / self.parameters,
            "flops": 1 - sum(f for _, f in gone) / self.flops,
        }


@lru_cache(maxsize=8)
def _counted(unet_class: Any, config: str, num_frames: int, height: int, width: int) -> UnitCosts:
    """The costs of a U-Net of this class and configuration; counting takes seconds.

    Blocks that stay compute what they did before, so one pass of the whole U-Net tells what every unit costs.
    """
    arguments: dict[str, Any] = json.loads(config)
    unet, size = empty_unet(unet_class, arguments), {"num_frames": num_frames, "height": height, "width": width}
    flops = unet_flops(unet, **size)
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in unet.named_modules()}
    saved = {}
    for unit in units_of(unet):
        modules = [name for block in unit.blocks for name in modules_of(unet, block)]
        saved[unit] = (sum(parameters[name] for name in modules), sum(flops.get(name, 0) for name in modules))
    return UnitCosts(parameters[""], flops[""], saved)
