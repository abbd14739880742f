"""Pruning plans: which blocks of a teacher's U-Net go, and whether the rest still fits together.

It leaves taking the blocks out to `vdmini.student` and knows a model by its config alone: it imports neither torch nor
diffusers. The unit is the R-A pair (arXiv 2411.18375, section 4): a ResBlock with its temporal part and the attention
after it, named after the ResBlock.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

PRESETS = ("none", "paper", "all-pairs")

_NAME = re.compile(
    r"mid_block|down_blocks\.\d+(\.resnets\.\d+|\.downsamplers\.0)?|up_blocks\.\d+(\.resnets\.\d+|\.upsamplers\.0)?"
)
_PAIR_PART = re.compile(r"((?:down|up)_blocks\.\d+)\.(?:attentions|temp_convs|temp_attentions)\.(\d+)")


class PlanError(ValueError):
    """A plan that cannot be carried out.

    Args:
        block: the block that is in the way, by its teacher name.
        reason: what is wrong with it.
        advice: what to do about it.
    """

    def __init__(self, block: str, reason: str, advice: str) -> None:
        super().__init__(f"{block}: {reason}; {advice}")
        self.block, self.reason, self.advice = block, reason, advice


@dataclass(frozen=True)
class PruningPlan:
    """The blocks to remove, by their teacher names, in the order in which the teacher runs them.

    Args:
        removed: any of `down_blocks.I.resnets.J` and `up_blocks.I.resnets.J` (R-A pairs), `mid_block`,
            `down_blocks.I.downsamplers.0`, `up_blocks.I.upsamplers.0`, and whole stages `down_blocks.I`, `up_blocks.I`.

    Raises:
        PlanError: a name has another form, is given twice, or lies inside a stage that is removed anyway. Whether the
            plan fits a model is what `check` says.
    """

    removed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "removed", _canonical(self.removed))

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """The plan that removes these blocks; see the class."""
        return cls(tuple(names))

    @classmethod
    def preset(cls, name: str, unet: Any) -> Self:
        """A named plan for a U-Net, checked.

        `paper` removes the second pair of every level except the second last, and the innermost stage with the middle
        (the reading of arXiv 2411.18375 that fits its parameter counts). `all-pairs` removes the second pair of every
        level and the middle. `none` removes nothing.

        Args:
            name: one of `PRESETS`.
            unet: a U-Net or its config.

        Raises:
            PlanError: there is no such preset, or the U-Net is too small for it.
        """
        if name not in PRESETS:
            raise PlanError(name, "no preset has this name", f"choose one of {', '.join(PRESETS)}, or list blocks")
        stages = len(config_of(unet)["block_out_channels"])
        plan = cls(tuple(_BLOCKS_OF[name](stages)))
        check(plan, unet)
        return plan

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The plan that `to_dict` wrote."""
        return cls(tuple(data["removed"]))

    def to_dict(self) -> dict[str, list[str]]:
        """The plan as plain data for JSON or YAML."""
        return {"removed": list(self.removed)}

    @property
    def sha256(self) -> str:
        """Hash that two plans share when they remove the same blocks, in whatever order those were given.

        It is taken over the names as compact JSON, in the order in which the teacher runs them.
        """
        return hashlib.sha256(json.dumps(self.removed, separators=(",", ":")).encode()).hexdigest()

    def removes(self, name: str) -> bool:
        """Whether a block goes, alone or with its stage."""
        return any(name == gone or name.startswith(f"{gone}.") for gone in self.removed)


def config_of(unet: Any) -> Mapping[str, Any]:
    """The config of a U-Net, or the config itself if that is what is given."""
    return unet if isinstance(unet, Mapping) else unet.config


def layers_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """R-A pairs of each Down stage, shallow to deep; an Up stage has one more."""
    layers = config["layers_per_block"]
    return (layers,) * len(config["block_out_channels"]) if isinstance(layers, int) else tuple(layers)


def check(plan: PruningPlan, unet: Any) -> None:
    """Refuse a plan that does not fit a U-Net.

    A plan fits when every name exists, stages go from the innermost outwards and complete, a kept stage keeps a pair,
    and every kept block gets its residual and its skip connection at the widths its weights expect and at one size.
    Nothing is allocated.

    Args:
        plan: the plan.
        unet: a U-Net (`UNetSpatioTemporalConditionModel`, `UNet3DConditionModel`) or its config.

    Raises:
        PlanError: the plan does not fit; the message names the block, the reason and the remedy.
    """
    config = config_of(unet)
    if config.get("removed_blocks"):
        first = config["removed_blocks"][0]
        raise PlanError(first, "this U-Net is a student that lacks it already", "prune the teacher with one plan")
    steps = list(_steps(config))
    stages = len(config["block_out_channels"])
    _check_names(plan, steps)
    _check_stages(plan, stages)
    _check_pairs(plan, steps)
    _check_flow([step for step in steps if not plan.removes(step.name)], plan, stages)


@dataclass(frozen=True)
class _Step:
    """What one block takes and gives, in channels; `skip` is 0 where it takes none."""

    name: str
    kind: Literal["down pair", "downsampler", "middle", "up pair", "upsampler"]
    residual: int
    out: int
    skip: int = 0

    @property
    def stage(self) -> str:
        return ".".join(self.name.split(".")[:2])


@dataclass(frozen=True)
class _Skip:
    name: str
    width: int
    depth: int


def _steps(config: Mapping[str, Any]) -> Iterator[_Step]:
    """The blocks of the whole U-Net in the order in which it runs them."""
    widths, layers = tuple(config["block_out_channels"]), layers_of(config)
    last = len(widths) - 1
    width = widths[0]
    for i, out in enumerate(widths):
        for j in range(layers[i]):
            yield _Step(f"down_blocks.{i}.resnets.{j}", "down pair", width, out)
            width = out
        if i < last:
            yield _Step(f"down_blocks.{i}.downsamplers.0", "downsampler", out, out)
    yield _Step("mid_block", "middle", width, width)
    for i, out in enumerate(reversed(widths)):
        level = last - i
        for j in range(layers[level] + 1):
            skip = out if j < layers[level] else widths[max(level - 1, 0)]
            yield _Step(f"up_blocks.{i}.resnets.{j}", "up pair", width, out, skip)
            width = out
        if i < last:
            yield _Step(f"up_blocks.{i}.upsamplers.0", "upsampler", out, out)


def _check_names(plan: PruningPlan, steps: list[_Step]) -> None:
    known = {step.name for step in steps} | {step.stage for step in steps}
    for name in plan.removed:
        if name not in known:
            stage = ".".join(name.split(".")[:2])
            there = [s.name for s in steps if s.stage == stage] or sorted({s.stage for s in steps})
            raise PlanError(name, "the model has no such block", f"choose from {', '.join(there)}")


def _check_stages(plan: PruningPlan, stages: int) -> None:
    """Stages go from the innermost outwards, each with its counterpart, the middle and the way down to it."""
    gone = [i for i in range(stages) if f"down_blocks.{i}" in plan.removed]
    gone += [stages - 1 - i for i in range(stages) if f"up_blocks.{i}" in plan.removed]
    if not gone:
        return
    outermost = min(gone)
    if outermost == 0:
        name = next(n for n in ("down_blocks.0", f"up_blocks.{stages - 1}") if n in plan.removed)
        raise PlanError(name, "the outermost stage carries the input and the output", "keep it and remove pairs of it")
    needed = [f"down_blocks.{outermost - 1}.downsamplers.0", "mid_block"]
    for level in range(outermost, stages):
        needed += [f"down_blocks.{level}", f"up_blocks.{stages - 1 - level}"]
    for name in needed:
        if name not in plan.removed:
            cause = next(
                n for n in plan.removed if n in (f"down_blocks.{outermost}", f"up_blocks.{stages - 1 - outermost}")
            )
            raise PlanError(name, f"it is of no use once {cause} is gone", f"remove it too, or keep {cause}")


def _check_pairs(plan: PruningPlan, steps: list[_Step]) -> None:
    for stage in {step.stage: None for step in steps if step.kind.endswith("pair")}:
        pairs = [step.name for step in steps if step.stage == stage and step.kind.endswith("pair")]
        if stage not in plan.removed and all(pair in plan.removed for pair in pairs):
            raise PlanError(stage, "the plan removes every pair of it", f"keep one of {', '.join(pairs)}")


def _check_flow(kept: list[_Step], plan: PruningPlan, stages: int) -> None:
    """Walk the kept blocks as the forward pass does, with widths and depths in place of tensors."""
    width, depth = kept[0].residual, 0
    skips = [_Skip("conv_in", width, depth)]
    for step in kept:
        if step.residual != width:
            reason = f"its weights take {step.residual} channels, but {width} would reach it"
            raise PlanError(step.name, *_blame(step, reason, plan, stages))
        if step.kind == "up pair":
            _check_skip(step, skips.pop() if skips else None, depth, plan, stages)
        depth += {"downsampler": 1, "upsampler": -1}.get(step.kind, 0)
        width = step.out
        if step.kind in ("down pair", "downsampler"):
            skips.append(_Skip(step.name, width, depth))
    if skips:
        reason = f"{len(skips)} skip connection(s), the last from {skips[-1].name}, would be left unused after it"
        raise PlanError(kept[-1].name, *_blame(kept[-1], reason, plan, stages))


def _check_skip(step: _Step, skip: _Skip | None, depth: int, plan: PruningPlan, stages: int) -> None:
    if skip is None:
        reason = "no skip connection would be left for it"
    elif skip.depth != depth:
        reason = f"at 1/{2**depth} of the size it would get the skip of {skip.name} at 1/{2**skip.depth}"
    elif skip.width != step.skip:
        reason = f"its weights take a skip of {step.skip} channels, but {skip.name} gives {skip.width}"
    else:
        return
    raise PlanError(step.name, *_blame(step, reason, plan, stages))


def _blame(step: _Step, reason: str, plan: PruningPlan, stages: int) -> tuple[str, str]:
    """The reason with the removed blocks behind it (those of the same level, if any), and the advice."""
    index = int(step.stage.split(".")[1]) if step.kind != "middle" else stages - 1
    level = stages - 1 - index if step.stage.startswith("up") else index
    sides = (f"down_blocks.{level}", f"up_blocks.{stages - 1 - level}")
    causes = [name for name in plan.removed if name.startswith(tuple(f"{side}." for side in sides))] or plan.removed
    advice = (
        f"from each level remove as many pairs of the Down stage as of the Up stage (here {sides[0]} and {sides[1]}), "
        "keep the pairs that change the width, and remove resamplers only together with what makes them superfluous"
    )
    return f"{reason} because the plan removes {', '.join(causes)}", advice


def _paper(stages: int) -> list[str]:
    if stages < 2:
        raise PlanError(
            "down_blocks.0", "the only stage cannot be the innermost one that 'paper' removes", "list blocks"
        )
    inner = [f"down_blocks.{stages - 2}.downsamplers.0", f"down_blocks.{stages - 1}", "mid_block", "up_blocks.0"]
    return inner + _second_pairs(stages, range(stages - 2))


def _all_pairs(stages: int) -> list[str]:
    return ["mid_block", *_second_pairs(stages, range(stages))]


def _second_pairs(stages: int, levels: Iterable[int]) -> list[str]:
    return [name for i in levels for name in (f"down_blocks.{i}.resnets.1", f"up_blocks.{stages - 1 - i}.resnets.1")]


_BLOCKS_OF: Mapping[str, Callable[[int], list[str]]] = {"none": lambda _: [], "paper": _paper, "all-pairs": _all_pairs}


def _canonical(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order, each checked for its form."""
    names = tuple(names)
    for name in names:
        if not _NAME.fullmatch(name):
            part = _PAIR_PART.fullmatch(name)
            advice = (
                f"write {part[1]}.resnets.{part[2]}, which it goes with" if part else "see PruningPlan for the names"
            )
            raise PlanError(name, "this is not a removable block", advice)
        if names.count(name) > 1:
            raise PlanError(name, "the plan names it twice", "name it once")
        stage = ".".join(name.split(".")[:2])
        if stage != name and stage in names:
            raise PlanError(name, f"it goes with {stage}, which the plan removes already", "drop it from the plan")
    return tuple(sorted(names, key=_position))


def _position(name: str) -> tuple[int, int, int, int]:
    parts = name.split(".")
    numbers = [int(part) for part in parts[1::2]] + [0, 0]
    section = ("down_blocks", "mid_block", "up_blocks").index(parts[0])
    return section, numbers[0], int("samplers" in name), numbers[1]
