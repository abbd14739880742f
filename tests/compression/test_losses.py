"""Losses equal their formulas, and gradients reach only whom they should."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from vdmini_compress.image_batch import MOVING_WEIGHT, moving_weight
from vdmini_compress.losses import (
    hinge_discriminator_loss,
    hinge_generator_loss,
    icd_loss,
    output_loss,
    pseudo_huber,
    r1_penalty,
)
from vdmini_compress.taps import tapped

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def test_output_loss_is_a_doubly_weighted_mean_square() -> None:
    student, teacher = draw(2, 3, 4, 5, 5), draw(2, 3, 4, 5, 5)
    weight, channel = draw(2, 3, 5, 5).abs(), draw(4).abs()
    total, norm = 0.0, 0.0
    for b in range(2):
        for f in range(3):
            for y in range(5):
                for x in range(5):
                    error = ((student[b, f, :, y, x] - teacher[b, f, :, y, x]) ** 2 * channel).sum() / 4
                    total += float(error * weight[b, f, y, x])
                    norm += float(weight[b, f, y, x])
    assert abs(float(output_loss(student, teacher, weight, channel)) - total / norm) < 1e-5


def test_icd_is_the_mean_relative_distance_of_each_frame_over_shared_stages() -> None:
    student = {"down 0": draw(6, 4, 3, 3), "up 0": draw(6, 8, 2, 2)}
    teacher = {"down 0": draw(6, 4, 3, 3), "up 0": draw(6, 8, 2, 2), "down 3": draw(6, 8, 1, 1)}
    expected = 0.0
    for stage in ("down 0", "up 0"):
        for frame in range(6):
            gap = torch.linalg.vector_norm(student[stage][frame] - teacher[stage][frame])
            expected += float(gap / torch.linalg.vector_norm(teacher[stage][frame])) / 12
    assert abs(float(icd_loss(student, teacher)) - expected) < 1e-5
    assert float(icd_loss(teacher, teacher)) == 0


def test_scaling_a_stage_does_not_let_it_outweigh_the_others() -> None:
    student, teacher = {"a": draw(2, 4), "b": draw(2, 4)}, {"a": draw(2, 4), "b": draw(2, 4)}
    scaled = [{**features, "a": features["a"] * 1000} for features in (student, teacher)]
    assert torch.allclose(icd_loss(student, teacher), icd_loss(*scaled))


def test_pseudo_huber_is_a_weighted_mean_that_is_squared_near_zero_and_absolute_far_off() -> None:
    made, right, weight = draw(2, 3), draw(2, 3), draw(2, 3).abs()
    c, total = 0.1, 0.0
    for i in range(2):
        for j in range(3):
            total += float(weight[i, j]) * ((float(made[i, j] - right[i, j]) ** 2 + c**2) ** 0.5 - c)
    assert float(pseudo_huber(made, right, weight, c=c)) == pytest.approx(total / float(weight.sum()), rel=1e-5)
    one = torch.ones(1)
    assert float(pseudo_huber(one * 100, one * 0, one)) == pytest.approx(100 - 0.001, rel=1e-5)


def test_the_hinge_losses_equal_their_formulas_and_heads_count_alike() -> None:
    real, fake = [draw(4, 9), draw(4, 2)], [draw(4, 9), draw(4, 2)]
    expected = 0.0
    for r, f in zip(real, fake, strict=True):
        terms = [max(0.0, 1 - float(x)) for x in r.flatten()], [max(0.0, 1 + float(x)) for x in f.flatten()]
        expected += (sum(terms[0]) + sum(terms[1])) / r.numel() / 2
    assert float(hinge_discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-5)
    assert float(hinge_generator_loss(fake)) == pytest.approx(-float(fake[0].mean() + fake[1].mean()) / 2, rel=1e-5)


def test_r1_is_half_the_mean_squared_gradient_of_the_real_logits() -> None:
    features = [draw(3, 5).requires_grad_()]
    slope = draw(5)
    penalty = r1_penalty([(features[0] * slope).sum(dim=1, keepdim=True)], features)
    assert float(penalty) == pytest.approx(0.5 * float(slope.square().sum()), rel=1e-5)


def test_weights_have_mean_one_in_each_clip_and_follow_change() -> None:
    still, moving = torch.zeros(1, 4, 2, 3, 3), torch.zeros(1, 4, 2, 3, 3)
    moving[:, 2:, :, 0, 0] = 5
    weight = moving_weight(torch.cat([still, moving]))
    assert torch.allclose(weight.mean(dim=(1, 2, 3)), torch.ones(2))
    assert float(weight[1, 3, 0, 0] / weight[1, 3, 2, 2]) == pytest.approx(MOVING_WEIGHT)


def test_taps_collect_and_leave_no_hook_behind_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with tapped(model, {"first": "0"}) as outputs:
        model(torch.ones(1, 2))
    assert outputs["first"].shape == (1, 3)
    try:
        with tapped(model, {"first": "0"}):
            raise RuntimeError
    except RuntimeError:
        pass
    assert not model[0]._forward_hooks


def test_two_threads_that_tap_one_model_each_collect_their_own() -> None:
    model = nn.Sequential(nn.Identity())
    both_tap = threading.Barrier(2, timeout=30)

    def collect(value: float) -> float:
        with tapped(model, {"first": "0"}) as outputs:
            both_tap.wait()
            model(torch.full((1,), value))
            both_tap.wait()
            return float(outputs["first"])

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(collect, [1.0, 2.0])) == [1.0, 2.0]
