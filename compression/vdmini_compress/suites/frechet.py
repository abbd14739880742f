"""The Fréchet distance between two sets of features, in float64, with an interval.

With features of a video network it is the FVD of arXiv 1812.01717, with features of frames the per-frame distance.
Legend: N clips, K feature vectors of one clip, D features.
"""

import numpy as np
from numpy.typing import NDArray

from vdmini_compress.suites.intervals import Estimate

Features = NDArray[np.float64]

GROUPS = 20
"""Clips are left out in so many groups; with fewer clips than this there is no interval."""

STUDENT_T = 2.093
"""97.5 % quantile of Student's t with `GROUPS` - 1 degrees of freedom."""


def frechet_distance(made: Features, real: Features) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    With centred features as C = RᵀR, the trace of (C1 C2)^½ is the sum of the singular values of R1 R2ᵀ. That needs
    no root of a matrix, stays real, and holds for fewer samples than features, where covariances are singular.
    The number is biased upwards, the more so the fewer the samples (arXiv 1911.07023): compare only distances that
    were taken with as many samples from the same real clips.

    Args:
        made: features [N, D], any float or integer type.
        real: features [M, D].

    Returns:
        The distance, 0 or more, in the features' unit squared.

    Raises:
        ValueError: when the shapes don't fit, a set has fewer than two samples, or a feature is not finite.
    """
    made, real = _checked(made), _checked(real)
    if made.shape[1] != real.shape[1]:
        raise ValueError(f"features of {made.shape[1]} and {real.shape[1]} dimensions; give both of one network")
    first, second = _covariance_root(made), _covariance_root(real)
    gap = np.square(made.mean(axis=0) - real.mean(axis=0)).sum()
    spread = np.square(first).sum() + np.square(second).sum()
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return max(0.0, float(gap + spread - 2 * shared))


def _checked(samples: Features) -> Features:
    if samples.ndim != 2 or len(samples) < 2:
        raise ValueError(f"features of shape {samples.shape}; a Gaussian needs [N, D] with at least 2 samples")
    if not np.isfinite(samples).all():
        raise ValueError("some features are not finite numbers; load the model in float32 or bfloat16, not float16")
    return samples.astype(np.float64)


def _covariance_root(samples_ND: Features) -> Features:
    """R [min(N, D), D] with RᵀR the covariance, normalised by N - 1 as FVD's own code does."""
    count, dimensions = samples_ND.shape
    centred: Features = (samples_ND - samples_ND.mean(axis=0)) / np.sqrt(count - 1)
    if count <= dimensions:
        return centred
    root: Features = np.linalg.qr(centred).R
    return root


def frechet_estimate(made_NKD: Features, real_NKD: Features, *, seed: int = 0) -> Estimate:
    """The Fréchet distance with its 95 % interval from a delete-a-group jackknife over clips.

    A bootstrap would draw clips twice, which lowers a covariance's rank and lifts every resampled distance above the
    measured one; leaving clips out does not. A clip is left out with all its feature vectors, since those depend on
    each other, and a made clip together with the real one whose place it has. The interval says how the distance
    would vary with other clips of this number. It says nothing of the bias, see `frechet_distance`.

    Args:
        made_NKD: features [N, K, D]; K is 1 for features of whole clips.
        real_NKD: features [M, K, D]; with as many clips, those of the same place count as pairs.
        seed: deals the clips into groups.

    Returns:
        The distance and its interval; no interval when a set has fewer than `GROUPS` clips.

    Raises:
        ValueError: see `frechet_distance`.
    """
    value = frechet_distance(_rows(made_NKD), _rows(real_NKD))
    if min(len(made_NKD), len(real_NKD)) < GROUPS:
        return Estimate(value=value, interval=None)
    made_groups, real_groups = _dealt(len(made_NKD), seed), _dealt(len(real_NKD), seed)
    partial = [
        frechet_distance(_rows(made_NKD[made_groups != group]), _rows(real_NKD[real_groups != group]))
        for group in range(GROUPS)
    ]
    margin = STUDENT_T * np.sqrt((GROUPS - 1) * np.var(partial))
    return Estimate(value=value, interval=(max(0.0, value - float(margin)), value + float(margin)))


def _rows(features_NKD: Features) -> Features:
    return features_NKD.reshape(-1, features_NKD.shape[-1])


def _dealt(count: int, seed: int) -> NDArray[np.int64]:
    """The group of each of so many clips; equal counts are dealt alike, which keeps pairs together."""
    return np.random.default_rng(seed).permutation(count) % GROUPS
