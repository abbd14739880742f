"""Latency of a student beside its teacher: same process, same precision, warm, in turn, with an interval."""

import random
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vdmini.engine import STAGES, Engine
from vdmini.manifest import Latency
from vdmini_compress.evaluate import settings_of

LEAST_RUNS = 20
"""Fewer runs give no ratio worth printing."""

WARM_UP = 2


def measure(
    teacher: Engine, student: Engine, conditions: dict[str, Any], *, runs: int, progress: Callable[[int], None]
) -> Latency:
    """Time both engines on the same input, in turn, in an order that changes with every pair.

    Args:
        teacher: the uncompressed model.
        student: the compressed one.
        conditions: the input, as arguments of `Engine.generate`; defaults fill the rest.
        runs: timed pairs, at least `LEAST_RUNS`.
        progress: called with the number of pairs done.

    Returns:
        Medians by stage and the median paired ratio with its 95 % bootstrap interval.

    Raises:
        ValueError: when `runs` is too small.
    """
    if runs < LEAST_RUNS:
        raise ValueError(f"{runs} latency runs are too few for a ratio; give at least {LEAST_RUNS}")
    engines = {"teacher": teacher, "vdmini": student}
    wanted = {name: settings_of(engine, **conditions) for name, engine in engines.items()}
    settings = wanted["vdmini"]
    for _ in range(WARM_UP):
        for name, engine in engines.items():
            engine.generate(**wanted[name])
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
    for run in range(runs):
        for name in sorted(engines, reverse=run % 2 == 1):
            samples[name].append(_with_total(engines[name].generate(**wanted[name]).seconds))
        progress(run + 1)
    ratios = [t["total"] / s["total"] for t, s in zip(samples["teacher"], samples["vdmini"], strict=True)]
    return Latency(
        device=student.device,
        dtype=student.dtype,
        width=settings["width"],
        height=settings["height"],
        num_frames=settings["num_frames"],
        num_inference_steps=settings["num_inference_steps"],
        runtime=student.runtime.model_dump(exclude_defaults=True, mode="json"),
        runs=runs,
        seconds={name: _medians(rows) for name, rows in samples.items()},
        speedup=round(statistics.median(ratios), 3),
        speedup_interval=interval(ratios),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _with_total(seconds: dict[str, float]) -> dict[str, float]:
    return seconds | {"total": sum(seconds.values())}


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {stage: round(statistics.median(row[stage] for row in rows), 5) for stage in (*STAGES, "total")}


def interval(values: list[float], *, draws: int = 2000, digits: int = 3) -> tuple[float, float]:
    """95 % bootstrap interval of the median, with a fixed seed, rounded to so many digits."""
    pick = random.Random(0)  # noqa: S311 - resampling, not a secret
    medians = sorted(statistics.median(pick.choices(values, k=len(values))) for _ in range(draws))
    return round(medians[int(0.025 * draws)], digits), round(medians[int(0.975 * draws)], digits)
