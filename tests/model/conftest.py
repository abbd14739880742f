"""Tiny real U-Nets with four stages: widths that differ where the full-size ones do."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import UNet3DConditionModel, UNetSpatioTemporalConditionModel
from torch import nn

from vdmini.unet3d_fps import UNet3DFpsConditionModel


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spread(unet: nn.Module) -> nn.Module:
    """Redraw every weight: zero-initialised layers would hide a block that is missing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05 + 0.01)
    return unet.eval()


@pytest.fixture(scope="session")
def tiny_svd() -> nn.Module:
    return spread(
        UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=8,
            block_out_channels=(32, 64, 96, 96),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            cross_attention_dim=16,
            num_attention_heads=(2, 2, 2, 2),
            num_frames=2,
        )
    )


@pytest.fixture(scope="session")
def tiny_fps() -> nn.Module:
    return spread(
        UNet3DFpsConditionModel(
            sample_size=8,
            block_out_channels=(8, 16, 24, 24),
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=8,
            time_cond_proj_dim=8,
        )
    )


@pytest.fixture(scope="session")
def tiny_unet3d() -> nn.Module:
    return spread(
        UNet3DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16, 24, 24),
            norm_num_groups=8,
            cross_attention_dim=16,
            attention_head_dim=8,
        )
    )
