"""A flat convolution over time is the three-dimensional one, and convolutions over space stay."""

import copy

import pytest
import torch
from torch import nn

from vdmini.temporal_convolution import TemporalConvolution, flatten_temporal_convolutions


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("padding", [0, 1])
def test_flat_is_the_same_convolution_in_any_memory_layout(padding: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    right = nn.Sequential(nn.Conv3d(6, 8, (3, 1, 1), padding=(padding, 0, 0)))
    flat = copy.deepcopy(right)
    assert flatten_temporal_convolutions(flat) == 1
    assert isinstance(copy.deepcopy(flat)[0], TemporalConvolution)
    assert list(flat.state_dict()) == list(right.state_dict())
    video = torch.randn(2, 6, 5, 4, 7).to(memory_format=layout)
    made = flat(video)
    assert made.shape == right(video).shape
    assert torch.allclose(made, right(video), atol=1e-6)


def test_convolutions_that_mix_places_or_skip_frames_stay() -> None:
    others = nn.Sequential(
        nn.Conv3d(4, 4, (3, 3, 3), padding=1),
        nn.Conv3d(4, 4, (3, 1, 1), padding=1),
        nn.Conv3d(4, 4, (3, 1, 1), stride=(2, 1, 1)),
        nn.Conv3d(4, 4, (3, 1, 1), groups=2),
        nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), padding_mode="replicate"),
    )
    assert flatten_temporal_convolutions(others) == 0
