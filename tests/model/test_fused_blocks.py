"""Fused blocks compute what stock ones do, for clips side by side and contexts of any length, and leave the rest."""

import copy
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D, SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

import vdmini
from vdmini import cost
from vdmini.cost import unet_cost
from vdmini.fused_attention import FusedAttention, FusedTransformerBlock
from vdmini.fused_blocks import (
    FusedGroupNormSiLU,
    FusedResnetBlock2D,
    FusedSpatioTemporalResBlock,
    fuse_blocks,
)
from vdmini.plan import PruningPlan
from vdmini.runtime import channels_last, fuse_projections
from vdmini.student import build_student

CLIPS, FRAMES = 2, 3


@pytest.fixture(params=["tiny_svd", "tiny_fps", "tiny_unet3d"])
def unet(request: pytest.FixtureRequest) -> nn.Module:
    made: nn.Module = copy.deepcopy(request.getfixturevalue(request.param))
    torch.manual_seed(0)
    for name, parameter in made.named_parameters():
        if not name.endswith("mix_factor"):
            nn.init.normal_(parameter, std=0.1)  # some start at zero, so that their branch would say nothing
    return made.eval().requires_grad_(False)


def inputs_of(unet: Any, tokens: int) -> dict[str, Tensor]:
    channels, size = unet.config["in_channels"], 8
    made = {"timestep": torch.tensor([3.0, 40.0]), "encoder_hidden_states": torch.randn(CLIPS, tokens, 16)}
    if isinstance(unet, UNetSpatioTemporalConditionModel):
        made["sample"] = torch.randn(CLIPS, FRAMES, channels, size, size)
        return made | {"added_time_ids": torch.tensor([[6.0, 127.0, 0.02], [3.0, 20.0, 0.1]])}
    made["sample"] = torch.randn(CLIPS, channels, FRAMES, size, size)
    if isinstance(unet, vdmini.UNet3DFpsConditionModel):
        made["timestep_cond"] = torch.randn(CLIPS, 9)
    return made


def fused(model: nn.Module) -> nn.Module:
    made = copy.deepcopy(model)
    channels_last(made)
    assert fuse_blocks(made) > 10
    return made


def close(made: Tensor, right: Tensor) -> bool:
    return float((made - right).norm() / right.norm()) < 1e-5


@pytest.mark.parametrize("tokens", [1, 3])
@torch.no_grad()
def test_a_u_net_makes_the_same_of_clips_side_by_side(unet: Any, tokens: int) -> None:
    inputs = inputs_of(unet, tokens)
    right = unet(**inputs).sample
    assert right.std() > 0
    tuned = fused(unet)
    assert list(tuned.state_dict()) == list(unet.state_dict())
    assert close(tuned(**inputs).sample, right)


@torch.no_grad()
def test_a_single_clip_with_a_single_token_is_the_same_too(unet: Any) -> None:
    inputs = {name: value[:1] for name, value in inputs_of(unet, 1).items()}
    assert close(fused(unet)(**inputs).sample, unet(**inputs).sample)


def test_a_fused_u_net_costs_what_it_is_built_of(unet: Any) -> None:
    student = build_student(unet, PruningPlan.preset("paper", unet)).eval()
    for model in (unet, student):
        size = {"num_frames": 2, "height": 8, "width": 8}
        before = unet_cost(model, **size)
        cost._COUNTED.clear()  # or the plain count would stand for both
        assert unet_cost(fused(model), **size) == before
        cost._COUNTED.clear()


@torch.no_grad()
def test_a_student_is_fused_like_its_teacher(unet: Any) -> None:
    student = build_student(unet, PruningPlan.preset("paper", unet)).eval()
    inputs = inputs_of(unet, 1)
    assert close(fused(student)(**inputs).sample, student(**inputs).sample)


@pytest.mark.parametrize("vae_class", [AutoencoderKL, AutoencoderKLTemporalDecoder])
@torch.no_grad()
def test_a_vae_encodes_and_decodes_the_same(vae_class: Any) -> None:
    torch.manual_seed(0)
    blocks = {"block_out_channels": (32, 64), "down_block_types": ("DownEncoderBlock2D",) * 2, "latent_channels": 4}
    if vae_class is AutoencoderKL:
        blocks["up_block_types"] = ("UpDecoderBlock2D",) * 2
    vae = vae_class(**blocks).eval()
    told = {"num_frames": FRAMES} if vae_class is AutoencoderKLTemporalDecoder else {}
    tuned, latents = fused(vae), torch.randn(CLIPS * FRAMES, 4, 4, 6)
    assert close(tuned.decode(latents, **told).sample, vae.decode(latents, **told).sample)
    pictures = torch.randn(2, 3, 8, 12)
    assert close(tuned.encode(pictures).latent_dist.mean, vae.encode(pictures).latent_dist.mean)
    assert type(tuned.decoder.conv_norm_out) is FusedGroupNormSiLU


def test_blocks_that_differ_from_the_usual_stay() -> None:
    unusual = nn.ModuleList(
        [
            ResnetBlock2D(in_channels=32, temb_channels=None, output_scale_factor=2.0),
            ResnetBlock2D(in_channels=32, temb_channels=None, non_linearity="gelu"),
            ResnetBlock2D(in_channels=32, temb_channels=8, time_embedding_norm="scale_shift"),
            ResnetBlock2D(in_channels=32, temb_channels=None, up=True),
        ]
    )
    usual = SpatioTemporalResBlock(32, 64, temb_channels=8)
    fuse_blocks(unusual)
    assert {type(block) for block in unusual} == {ResnetBlock2D}
    fuse_blocks(usual)
    assert type(usual) is FusedSpatioTemporalResBlock
    assert type(usual.spatial_res_block) is FusedResnetBlock2D


@torch.no_grad()
def test_attention_is_the_stock_ones_with_a_context_of_any_length_and_with_a_mask() -> None:
    torch.manual_seed(0)
    stock = Attention(query_dim=16, cross_attention_dim=8, heads=2, dim_head=8).eval()
    tuned = fused_attention(stock)
    rows, mask = torch.randn(2, 5, 16), torch.tensor([[0.0, -1e4, 0.0]]).repeat(2, 1)
    for tokens in (1, 3):
        context = torch.randn(2, tokens, 8)
        assert close(tuned(rows, context).expand_as(rows), stock(rows, context))
    assert close(tuned(rows, context, mask), stock(rows, context, mask))
    assert not close(tuned(rows, context, mask), stock(rows, context))


@pytest.mark.parametrize("tokens", [1, 3])
@torch.no_grad()
def test_an_exchanged_processor_is_asked_everywhere(unet: Any, tokens: int) -> None:
    asked: list[Attention] = []

    class Watching(AttnProcessor2_0):
        def __call__(self, attn: Attention, *args: Any, **kwargs: Any) -> Tensor:
            asked.append(attn)
            return super().__call__(attn, *args, **kwargs)

    inputs, tuned = inputs_of(unet, tokens), fused(unet)
    for module in tuned.modules():
        if isinstance(module, Attention):
            module.set_processor(Watching())
    assert close(tuned(**inputs).sample, unet(**inputs).sample)
    assert set(asked) == {module for module in tuned.modules() if isinstance(module, Attention)}


@pytest.mark.parametrize("also_blocks", [True, False])
@torch.no_grad()
def test_projections_can_be_fused_besides(unet: Any, also_blocks: bool) -> None:
    inputs, tuned = inputs_of(unet, 3), fused(unet) if also_blocks else copy.deepcopy(unet)
    fuse_projections(tuned)
    assert close(tuned(**inputs).sample, unet(**inputs).sample)
    for module in tuned.modules():
        if isinstance(module, Attention):
            module.to_k.weight.zero_()  # no longer asked
    assert close(tuned(**inputs).sample, unet(**inputs).sample)


@torch.no_grad()
def test_a_transformer_block_takes_the_masks_that_a_stock_one_takes() -> None:
    torch.manual_seed(0)
    stock = BasicTransformerBlock(16, 2, 8, cross_attention_dim=8).eval()
    tuned = nn.ModuleList([copy.deepcopy(stock)])
    fuse_blocks(tuned)
    assert type(tuned[0]) is FusedTransformerBlock
    rows, context = torch.randn(2, 5, 16), torch.randn(2, 3, 8)
    told = {"encoder_hidden_states": context, "encoder_attention_mask": torch.tensor([[0.0, -1e4, 0.0]]).repeat(2, 1)}
    assert close(tuned[0](rows, **told), stock(rows, **told))
    assert not close(tuned[0](rows, **told), stock(rows, encoder_hidden_states=context))


@torch.no_grad()
def test_a_temporal_transformer_takes_the_context_that_a_stock_one_takes() -> None:
    torch.manual_seed(0)
    stock = TransformerTemporalModel(2, 16, in_channels=32, norm_num_groups=4, double_self_attention=True).eval()
    tuned = nn.ModuleList([copy.deepcopy(stock)])
    fuse_blocks(tuned)
    frames, context = torch.randn(6, 32, 4, 4), torch.randn(32, 3, 32)
    for told in ({}, {"encoder_hidden_states": context}, {"cross_attention_kwargs": {}}):
        assert close(tuned[0](frames, num_frames=3, **told).sample, stock(frames, num_frames=3, **told).sample)


def test_transformer_blocks_that_differ_from_the_usual_stay() -> None:
    unusual = nn.ModuleList(
        [
            BasicTransformerBlock(16, 2, 8, norm_type="ada_norm", num_embeds_ada_norm=4),
            BasicTransformerBlock(16, 2, 8, positional_embeddings="sinusoidal", num_positional_embeddings=4),
            BasicTransformerBlock(16, 2, 8, cross_attention_dim=8, attention_type="gated"),
            BasicTransformerBlock(16, 2, 8, cross_attention_dim=8, only_cross_attention=True),
            TransformerTemporalModel(2, 8, in_channels=32, cross_attention_dim=8, double_self_attention=False),
        ]
    )
    fuse_blocks(unusual)
    assert {type(block) for block in unusual} == {BasicTransformerBlock, TransformerTemporalModel}
    chunked = nn.ModuleList([BasicTransformerBlock(16, 2, 8)])
    chunked[0].set_chunk_feed_forward(1, dim=1)
    fuse_blocks(chunked)
    assert type(chunked[0]) is BasicTransformerBlock


def fused_attention(stock: Attention) -> FusedAttention:
    holder = nn.ModuleList([copy.deepcopy(stock)])
    fuse_blocks(holder)
    assert isinstance(holder[0], FusedAttention)
    return holder[0]
