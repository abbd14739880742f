"""A measured number with its confidence interval, and the interval of a mean over clips."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from vdmini.manifest import Record

LEAST_SCORES = 4
"""Fewer scores give no interval worth printing."""

DRAWS = 2000
"""Bootstrap samples; the ends of a 95 % interval then vary by a few per cent of its width."""


class Estimate(Record):
    """A number and how far it can be trusted."""

    value: float
    interval: tuple[float, float] | None = Field(
        description="95 % confidence interval; null where there are too few clips for one"
    )


def mean_interval(scores: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean of per-clip scores with its percentile bootstrap interval (Efron 1979).

    It speaks of other clips of the same kind, each clip counting as independent. Scores that are all equal give a
    point, which is too narrow for a share near 0 or 1.

    Args:
        scores: one number per clip, in any unit.
        seed: of the resampling; the same scores and seed give the same interval.

    Returns:
        The mean and its 95 % interval in the scores' unit; no interval below `LEAST_SCORES` scores.

    Raises:
        ValueError: when there are no scores or one of them is not a finite number.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"cannot average scores of shape {values.shape} that are to be finite; give one per clip")
    if len(values) < LEAST_SCORES:
        return Estimate(value=float(values.mean()), interval=None)
    generator = np.random.default_rng(seed)
    means = [generator.choice(values, len(values)).mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(value=float(values.mean()), interval=(float(low), float(high)))


def mean_intervals(scores: Mapping[str, Sequence[float]], *, seed: int = 0) -> dict[str, Estimate]:
    """`mean_interval` of every measure; all are resampled alike, so measures of the same clips stay paired."""
    return {name: mean_interval(values, seed=seed) for name, values in scores.items()}
