"""Times contenders in turn, by stage, and holds them against each other and against the device."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vdmini.engine import STAGES
from vdmini.manifest import Record
from vdmini_compress.bench.contenders import STOCK, TEACHER, Contender
from vdmini_compress.bench.likeness import likeness_db
from vdmini_compress.bench.memory import peak_bytes
from vdmini_compress.evaluate import settings_of
from vdmini_compress.latency import LEAST_RUNS, WARM_UP, interval

TOTAL = "total"
Report = Callable[[str], None]
Samples = dict[str, list[dict[str, float]]]
"""Contender -> one dictionary of seconds by stage, "total" included, for every run."""


class Spread(Record):
    """Seconds of one stage."""

    median: float
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the median")


class Ratio(Record):
    """How many times as fast one contender is as another: the median of the ratios of runs of the same round."""

    median: float
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of that median")


class Measured(Record):
    """One contender."""

    seconds: dict[str, Spread] = Field(description="by stage and in total")
    against: dict[str, Ratio] = Field(description="total time of another contender over this one's")
    peak_bytes: int | None = Field(description="memory of one clip above what all loaded models take")
    flops: dict[str, int] = Field(description="operations of a stage for one clip, all steps, 2 per multiply-add")
    flops_per_second: dict[str, float] = Field(description="of stages denoise and decode, and of both together")
    matmul_share: dict[str, float] = Field(description="the same, as a share of a large matrix product's")
    likeness_db: float | None = Field(description="PSNR of its frames against plain diffusers' with the same weights")


def measure(
    rivals: Sequence[Contender], conditions: dict[str, Any], *, runs: int, rate: float, say: Report
) -> dict[str, Measured]:
    """Time every contender once a round, in an order that turns, so that whatever else the machine does hits all alike.

    Args:
        rivals: what is compared, warm or not.
        conditions: the input, as arguments of `Engine.generate`; each engine's defaults fill the rest.
        runs: rounds, at least `LEAST_RUNS`.
        rate: operations per second of a large matrix product on the same device.
        say: receives progress.

    Raises:
        ValueError: when `runs` is too small.
    """
    if runs < LEAST_RUNS:
        raise ValueError(f"{runs} runs are too few for a ratio; give at least {LEAST_RUNS}")
    passes = {rival.name: _passes(rival, conditions) for rival in rivals}
    shown = {rival.name: _warm(rival, conditions) for rival in rivals}
    samples: Samples = {rival.name: [] for rival in rivals}
    for turn in range(runs):
        first = turn % len(rivals)
        for rival in [*rivals[first:], *rivals[:first]]:
            seconds = rival.engine.generate(**settings_of(rival.engine, **conditions)).seconds
            samples[rival.name].append(seconds | {TOTAL: sum(seconds.values())})
        say(f"{turn + 1}/{runs} rounds")
    plain = shown.get(STOCK)
    return {
        rival.name: _measured(
            rival,
            samples,
            rate,
            conditions,
            passes=passes[rival.name],
            likeness=_likeness(rival, shown[rival.name], plain),
        )
        for rival in rivals
    }


def _passes(rival: Contender, conditions: dict[str, Any]) -> int:
    """Clips that go through the U-Net while one is made: one a step, and another where guidance needs it."""
    seen: list[int] = []

    def count(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        seen.append(len(arguments[0] if arguments else keywords["sample"]))

    hook = rival.engine.pipeline.unet.register_forward_pre_hook(count, with_kwargs=True)
    try:
        rival.engine.generate(**settings_of(rival.engine, **conditions))
    finally:
        hook.remove()
    return sum(seen)


def _warm(rival: Contender, conditions: dict[str, Any]) -> NDArray[np.uint8]:
    """Run it until nothing is compiled or allocated for the first time."""
    wanted = settings_of(rival.engine, **conditions)
    return [rival.engine.generate(**wanted).frames for _ in range(WARM_UP)][-1]


def _likeness(rival: Contender, frames: NDArray[np.uint8], plain: NDArray[np.uint8] | None) -> float | None:
    """Only the teacher has the weights that plain diffusers ran with."""
    return likeness_db(frames, plain) if plain is not None and rival.name == TEACHER else None


def _measured(
    rival: Contender,
    samples: Samples,
    rate: float,
    conditions: dict[str, Any],
    *,
    passes: int,
    likeness: float | None,
) -> Measured:
    own = samples[rival.name]
    spreads = {stage: _spread([run[stage] for run in own]) for stage in (*STAGES, TOTAL)}
    flops = {"denoise": passes * rival.flops["denoise"], "decode": rival.flops["decode"]}
    per_second = {stage: count / spreads[stage].median for stage, count in flops.items()}
    per_second["denoise + decode"] = sum(flops.values()) / sum(spreads[stage].median for stage in flops)
    wanted = settings_of(rival.engine, **conditions)
    return Measured(
        seconds=spreads,
        against={name: _ratio(other, own) for name, other in samples.items() if name in (STOCK, TEACHER)},
        peak_bytes=peak_bytes(lambda: rival.engine.generate(**wanted), rival.engine.torch_device),
        flops=flops,
        flops_per_second={stage: round(value) for stage, value in per_second.items()},
        matmul_share={stage: round(value / rate, 4) for stage, value in per_second.items()},
        likeness_db=likeness,
    )


def _spread(values: list[float]) -> Spread:
    return Spread(median=round(statistics.median(values), 6), interval=interval(values, digits=6))


def _ratio(other: list[dict[str, float]], own: list[dict[str, float]]) -> Ratio:
    ratios = [theirs[TOTAL] / ours[TOTAL] for theirs, ours in zip(other, own, strict=True)]
    return Ratio(median=round(statistics.median(ratios), 3), interval=interval(ratios))
