"""Guards tell a collapsed clip from one that is merely not good yet, and say which."""

import math

import pytest
import torch
from torch import nn

from vdmini_compress.guards import CollapseError, collapse, refuse_collapse, refuse_nan, statistics_of
from vdmini_compress.training import generator_for
from vdmini_compress.world import clips

TRUE = clips.image_clips(6, 0, generator_for(3, 0)).frames_BF3HW
FOUND = statistics_of(TRUE)


def blurred(frames: torch.Tensor) -> torch.Tensor:
    pooled = nn.functional.avg_pool2d(frames.flatten(0, 1), 5, 1, 2)
    return pooled.reshape(frames.shape)


def test_a_good_a_blurred_and_a_noisy_clip_pass() -> None:
    noise = 0.02 * torch.randn(TRUE.shape, generator=generator_for(1, 0))
    for made in (TRUE, blurred(TRUE), (TRUE + noise).clamp(0, 1)):
        assert collapse(statistics_of(made), FOUND) is None


def test_each_collapse_is_named() -> None:
    flickering = TRUE.clone()
    flickering[:, ::2] = 1 - flickering[:, ::2]
    made = {"one colour": torch.full_like(TRUE, 0.4), "still": TRUE[:, :1].expand_as(TRUE), "flicker": flickering}
    for name, clip in made.items():
        assert collapse(statistics_of(clip), FOUND) == name
        with pytest.raises(CollapseError, match=f"collapsed by step 70: {name}"):
            refuse_collapse(statistics_of(clip), FOUND, 70)


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = nn.Linear(2, 2)
    refuse_nan(model, 1)
    with torch.no_grad():
        model.bias[0] = math.nan
    with pytest.raises(CollapseError, match="bias holds NaN or infinity"):
        refuse_nan(model, 1)
