"""What each switch of the runtime is worth alone, against plain diffusers, on one model."""

import gc
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from pydantic import Field

from vdmini.engine import STAGES, Engine
from vdmini.manifest import Record
from vdmini.switches import RuntimeSettings
from vdmini_compress.bench.likeness import likeness_db
from vdmini_compress.bench.measure import TOTAL, Ratio
from vdmini_compress.evaluate import settings_of
from vdmini_compress.latency import WARM_UP, interval

Report = Callable[[str], None]

ANYWHERE = (
    RuntimeSettings(unet_channels_last=True),
    RuntimeSettings(vae_channels_last=True),
    RuntimeSettings(fused_projections=True),
    RuntimeSettings(on_device=True),
    RuntimeSettings(cached_lookups=True),
    RuntimeSettings(fused_blocks=True),
    RuntimeSettings(fused_blocks=True, cached_lookups=True),
    RuntimeSettings(fused_blocks=True, cached_lookups=True, fused_projections=True),
)
ON_A_GPU = (
    RuntimeSettings(cudnn_benchmark=True),
    RuntimeSettings(unet_channels_last=True, vae_channels_last=True, cudnn_benchmark=True),
    RuntimeSettings(fused_blocks=True, cached_lookups=True, on_device=True, cuda_graphs=True),
    RuntimeSettings(fused_blocks=True, cached_lookups=True, on_device=True, cuda_graphs=True, encoder_graphs=True),
    RuntimeSettings(attention="flash"),
    RuntimeSettings(attention="cudnn"),
    RuntimeSettings(attention="efficient"),
)
COMPILED = (
    RuntimeSettings(compile="default"),
    RuntimeSettings(compile="reduce-overhead"),
    RuntimeSettings(compile="max-autotune-no-cudagraphs"),
    RuntimeSettings(unet_channels_last=True, vae_channels_last=True, compile="max-autotune-no-cudagraphs"),
)


class SwitchWorth(Record):
    """One setting of the switches beside the plain runtime."""

    runtime: dict[str, Any] = Field(description="the fields that differ from the plain runtime's")
    speedup: dict[str, Ratio] = Field(description="plain time over this one's, by stage and in total")
    likeness_db: float = Field(description="PSNR of its frames against the plain runtime's")
    first_seconds: float = Field(description="the first clip, in which everything is compiled")


def candidates(device: torch.device, *, compiled: bool) -> Iterator[RuntimeSettings]:
    """The settings that make sense on a device.

    Args:
        device: where.
        compiled: whether to try torch.compile, which takes minutes.
    """
    yield from ANYWHERE
    if device.type == "cuda":
        yield from ON_A_GPU
    if compiled:
        yield from COMPILED


def switch_worth(
    load: Callable[[], Engine],
    settings: RuntimeSettings,
    plain: Engine,
    conditions: dict[str, Any],
    *,
    runs: int,
    say: Report,
    with_engine: Callable[[Engine], None] = lambda _: None,
) -> SwitchWorth:
    """Time one setting beside the plain runtime, in turn.

    Args:
        load: makes another engine with the weights of `plain`, not tuned yet.
        settings: what to try.
        plain: the artifact as diffusers loads it, warm.
        conditions: the input, as arguments of `Engine.generate`.
        runs: pairs.
        say: receives progress.
        with_engine: called with the engine at the end, to look at it in other ways.
    """
    changes = settings.model_dump(exclude_defaults=True, mode="json")
    engine = load()
    engine.tune(settings)
    wanted = settings_of(plain, **conditions)
    first = sum(engine.generate(**wanted).seconds.values())
    for _ in range(WARM_UP):
        frames = engine.generate(**wanted).frames
    likeness = likeness_db(frames, plain.generate(**wanted).frames)
    pairs = []
    for turn in range(runs):
        order = (plain, engine) if turn % 2 else (engine, plain)
        seconds = {one is plain: one.generate(**wanted).seconds for one in order}
        pairs.append((seconds[True], seconds[False]))
    say(f"{changes}: {len(pairs)} pairs")
    with_engine(engine)
    torch.backends.cudnn.benchmark = False  # the one switch that outlives its engine
    del engine
    gc.collect()
    return SwitchWorth(
        runtime=changes,
        speedup={stage: _ratio(pairs, stage) for stage in (*STAGES, TOTAL)},
        likeness_db=likeness,
        first_seconds=round(first, 3),
    )


def _ratio(pairs: list[tuple[dict[str, float], dict[str, float]]], stage: str) -> Ratio:
    ratios = [_seconds(plain, stage) / _seconds(tried, stage) for plain, tried in pairs]
    return Ratio(median=round(statistics.median(ratios), 3), interval=interval(ratios))


def _seconds(run: dict[str, float], stage: str) -> float:
    return sum(run.values()) if stage == TOTAL else run[stage]
