"""How time and memory grow with frames, resolution, steps and clips at once."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from pydantic import Field

from vdmini.engine import Engine
from vdmini.manifest import Record
from vdmini_compress.bench.memory import peak_bytes
from vdmini_compress.evaluate import settings_of

Report = Callable[[str], None]

FACTORS = (0.5, 1, 2)
STEPS = (1, 2, 4)
BATCHES = (1, 2, 4)
RUNS = 5
SIZE_STEP = 64
"""Widths and heights are multiples of it: what a VAE of three halvings and a U-Net of three take."""


class Point(Record):
    """One size."""

    axis: str = Field(description='"num_frames", "size", "num_inference_steps" or "batch"')
    value: str
    seconds: dict[str, float] = Field(description="median by stage")
    peak_bytes: int | None


def points(engine: Engine, conditions: dict[str, Any], say: Report) -> Iterator[Point]:
    """Measure along each axis, everything else being the model's default.

    Args:
        engine: tuned or not.
        conditions: the input, as arguments of `Engine.generate`.
        say: receives progress.
    """
    defaults = engine.manifest.defaults
    for factor in FACTORS:
        count = max(1, round(factor * defaults.num_frames))
        yield _clip(engine, "num_frames", str(count), conditions | {"num_frames": count}, say)
    for factor in FACTORS:
        width, height = (max(SIZE_STEP, SIZE_STEP * round(factor * n / SIZE_STEP)) for n in _size(engine))
        if factor < 1 and (width, height) == _size(engine):
            continue  # the model is as small as can be
        yield _clip(engine, "size", f"{width}x{height}", conditions | {"width": width, "height": height}, say)
    for steps in STEPS:
        yield _clip(engine, "num_inference_steps", str(steps), conditions | {"num_inference_steps": steps}, say)
    yield from _batches(engine, conditions, say)


def _size(engine: Engine) -> tuple[int, int]:
    return engine.manifest.defaults.width, engine.manifest.defaults.height


def _clip(engine: Engine, axis: str, value: str, conditions: dict[str, Any], say: Report) -> Point:
    wanted = settings_of(engine, **conditions)
    made = [engine.generate(**wanted).seconds for _ in range(RUNS + 1)][1:]
    seconds = {stage: round(statistics.median(run[stage] for run in made), 6) for stage in made[0]}
    say(f"{axis} {value}: {1000 * sum(seconds.values()):.0f} ms")
    peak = peak_bytes(lambda: engine.generate(**wanted), engine.torch_device)
    return Point(axis=axis, value=value, seconds=seconds, peak_bytes=peak)


def _batches(engine: Engine, conditions: dict[str, Any], say: Report) -> Iterator[Point]:
    """Several clips at once through one pass of the U-Net, and through the decoder; a pipeline makes one at a time."""
    pipeline = engine.pipeline
    for stage, model, method in (("denoise", pipeline.unet, "forward"), ("decode", pipeline.vae, "decode")):
        arguments, keywords = _seen(model, method, engine, conditions)
        for count in BATCHES:
            call = partial(
                getattr(model, method),
                *(_repeated(value, count) for value in arguments),
                **{name: _repeated(value, count) for name, value in keywords.items()},
            )
            timed = [_timed(call, engine.torch_device) for _ in range(RUNS + 1)][1:]
            seconds = {stage: round(statistics.median(timed), 6)}
            say(f"{count} clips at once, one {stage} pass: {1000 * seconds[stage]:.0f} ms")
            yield Point(
                axis="batch", value=str(count), seconds=seconds, peak_bytes=peak_bytes(call, engine.torch_device)
            )


def _seen(
    model: Any, method: str, engine: Engine, conditions: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a pipeline calls a method of one of its models with while it makes a clip."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    own, stock = vars(model).get(method), getattr(model, method)

    def watched(*arguments: Any, **keywords: Any) -> Any:
        calls.append((arguments, keywords))
        return stock(*arguments, **keywords)

    setattr(model, method, watched)
    try:
        engine.generate(**settings_of(engine, **conditions))
    finally:
        delattr(model, method)
        if own is not None:
            setattr(model, method, own)
    return calls[0]


def _repeated(value: Any, count: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim:
        return value.repeat(count, *(1 for _ in value.shape[1:]))
    return value


@torch.inference_mode()
def _timed(call: Callable[[], Any], device: torch.device) -> float:
    """Wall time of a call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
