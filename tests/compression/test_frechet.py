"""Distances between sets of clips, and means, with their intervals, against known answers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from vdmini_compress.suites.frechet import frechet_distance, frechet_estimate
from vdmini_compress.suites.intervals import mean_interval, mean_intervals


def normal(count: int, dimensions: int, *, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(count, dimensions)) @ generator.normal(size=(dimensions, dimensions))
    return mixed + generator.normal(size=dimensions)


def reference_distance(made: NDArray[np.float64], real: NDArray[np.float64]) -> float:
    covariances = [np.atleast_2d(np.cov(samples, rowvar=False)) for samples in (made, real)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    gap = np.square(made.mean(axis=0) - real.mean(axis=0)).sum()
    return float(gap + np.trace(covariances[0] + covariances[1] - 2 * root))


class TestFrechet:
    @pytest.mark.parametrize(("count", "dimensions"), [(500, 40), (300, 128), (65, 64), (40, 1)])
    def test_the_distance_equals_the_formula_with_a_matrix_root(self, count: int, dimensions: int) -> None:
        made, real = normal(count, dimensions, seed=1), 0.5 * normal(count + 9, dimensions, seed=2)
        assert frechet_distance(made, real) == pytest.approx(reference_distance(made, real), rel=1e-6)

    def test_float32_features_are_compared_in_float64(self) -> None:
        made, real = (normal(200, 32, seed=seed).astype(np.float32) for seed in (1, 2))
        wide = reference_distance(made.astype(np.float64), real.astype(np.float64))
        assert frechet_distance(made, real) == pytest.approx(wide, rel=1e-6)

    def test_with_fewer_samples_than_dimensions_a_shift_costs_its_square(self) -> None:
        samples = normal(6, 50, seed=3)
        assert frechet_distance(samples + 2.0, samples) == pytest.approx(50 * 4.0, rel=1e-6)

    def test_with_fewer_samples_than_dimensions_spreading_costs_what_the_formula_says(self) -> None:
        centred = normal(6, 50, seed=3)
        centred -= centred.mean(axis=0)
        trace = np.square(centred).sum() / 5
        assert frechet_distance(3 * centred, centred) == pytest.approx(4 * trace, rel=1e-6)

    def test_sets_that_vary_in_different_directions_share_nothing(self) -> None:
        made, real = np.zeros((3, 9)), np.zeros((3, 9))
        made[:, 0], real[:, 1] = (-1, 0, 1), (-2, 0, 2)
        assert frechet_distance(made, real) == pytest.approx(1 + 4, rel=1e-6)

    def test_a_set_is_no_distance_from_itself_and_order_does_not_matter(self) -> None:
        made, real = normal(30, 12, seed=4), normal(30, 12, seed=5)
        assert frechet_distance(made, made) == pytest.approx(0, abs=1e-9)
        assert frechet_distance(made, real) == pytest.approx(frechet_distance(real, made), rel=1e-9)

    def test_features_that_say_nothing_are_refused(self) -> None:
        good = normal(5, 3, seed=6)
        with pytest.raises(ValueError, match=r"shape \(1, 3\); a Gaussian needs \[N, D\] with at least 2"):
            frechet_distance(good[:1], good)
        with pytest.raises(ValueError, match="3 and 2 dimensions; give both of one network"):
            frechet_distance(good, good[:, :2])
        with pytest.raises(ValueError, match="not finite numbers; load the model in float32"):
            frechet_distance(np.where(good > 0, good, np.nan), good)

    def test_the_interval_holds_the_distance_and_shrinks_with_more_clips(self) -> None:
        few, many = (
            frechet_estimate(normal(n, 8, seed=1)[:, None], 0.5 * normal(n, 8, seed=2)[:, None]) for n in (40, 1000)
        )
        assert few.interval is not None
        assert many.interval is not None
        for found in (few, many):
            assert found.interval[0] < found.value < found.interval[1]
        assert many.interval[1] - many.interval[0] < (few.interval[1] - few.interval[0]) / 2

    def test_the_interval_covers_the_expected_distance_about_as_often_as_it_says(self) -> None:
        found = [
            frechet_estimate(
                normal(60, 3, seed=2)[:, None] * 0 + np.random.default_rng(k).normal(size=(60, 1, 3)), real
            )
            for k, real in enumerate(np.random.default_rng(9).normal(0.5, 1, size=(60, 60, 1, 3)))
        ]
        expected = np.mean([estimate.value for estimate in found])
        covered = [estimate.interval[0] <= expected <= estimate.interval[1] for estimate in found if estimate.interval]
        assert np.mean(covered) > 0.85

    def test_a_made_clip_leaves_together_with_its_real_one(self) -> None:
        real = normal(50, 4, seed=7)[:, None]
        found = frechet_estimate(real + 1.0, real)
        assert found.interval == pytest.approx((4.0, 4.0), rel=1e-6)

    def test_too_few_clips_have_no_interval_however_many_frames(self) -> None:
        frames = normal(19 * 10, 4, seed=8).reshape(19, 10, 4)
        assert frechet_estimate(frames, frames + 1).interval is None


class TestIntervals:
    def test_a_mean_comes_with_an_interval_that_repeats(self) -> None:
        found = mean_interval([0.0, 1.0, 2.0, 3.0, 4.0], seed=3)
        assert found == mean_interval([0.0, 1.0, 2.0, 3.0, 4.0], seed=3)
        assert found.value == 2
        assert found.interval is not None
        assert 0 < found.interval[0] < 2 < found.interval[1] < 4

    def test_few_scores_have_no_interval_and_none_are_refused(self) -> None:
        assert mean_intervals({"a": [1.0, 2.0, 3.0]})["a"].interval is None
        with pytest.raises(ValueError, match="give one per clip"):
            mean_interval([])
