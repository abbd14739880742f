"""The blocks of diffusers' video U-Nets and VAEs with fewer passes over memory; results differ by rounding alone.

Frames stay as they are, channels innermost, from one end of a network to the other: a convolution over time is then a
two-dimensional one of F x (H W), a clip's norm is one over neighbouring frames, and neither moves memory. Norms take
SiLU along, and the bias before them and what time embeddings add; residual sums take the last bias along, and the blend
of space and time (x + (1 - a) (y - x), y = x + branch). Blocks keep their weights and names: only their class changes.

Legend: R frames of all clips, B clips, F frames of each, C channels, D features, H height, W width.
"""

from typing import Any

from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, TemporalBasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import (
    AlphaBlender,
    ResnetBlock2D,
    SpatioTemporalResBlock,
    TemporalConvLayer,
    TemporalResnetBlock,
)
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel, TransformerTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

from vdmini.fused_attention import (
    FusedAttention,
    FusedTemporalTransformerBlock,
    FusedTransformerBlock,
    usual_attention,
    usual_block,
    usual_temporal_block,
)
from vdmini.fused_operators import add_branch, group_norm
from vdmini.fused_transformers import (
    FusedAlphaBlender,
    FusedGEGLU,
    FusedTransformer2D,
    FusedTransformerSpatioTemporal,
    FusedTransformerTemporal,
    usual_spatio_temporal,
    usual_temporal,
    usual_transformer,
)


class FusedGroupNorm(nn.GroupNorm):
    """A norm of single samples; see `vdmini.fused_operators`."""

    silu = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """Return [N, C, ...] for `input` [N, C, ...], of one to three dimensions."""
        flat = input.flatten(2, -2) if input.dim() > 3 else input.unsqueeze(-1)
        return group_norm(flat, self, silu=self.silu).view(input.shape)


class FusedGroupNormSiLU(FusedGroupNorm):
    """A norm and the SiLU after it."""

    silu = True


class FusedResnetBlock2D(ResnetBlock2D):
    """A spatial block."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """Return [R, C_out, H, W] for `input_tensor` [R, C, H, W] and the time embedding [R, D]."""
        hidden = group_norm(input_tensor, self.norm1, silu=True)
        hidden = without_bias(self.conv1, hidden)
        hidden = group_norm(hidden, self.norm2, shift=_shift(self.conv1, self.time_emb_proj, temb), silu=True)
        hidden = without_bias(self.conv2, hidden)
        past = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return add_branch(past, hidden, self.conv2.bias)


class FusedSpatioTemporalResBlock(SpatioTemporalResBlock):
    """A spatial block, a temporal one, and the blend of both."""

    def forward(
        self, hidden_states: Tensor, temb: Tensor | None = None, image_only_indicator: Tensor | None = None
    ) -> Tensor:
        """Return [R, C_out, H, W] for `hidden_states` [R, C, H, W], embedding [R, D] and indicator [B, F]."""
        assert image_only_indicator is not None  # noqa: S101 - for the type checker; the stock block needs it, too
        frames, temporal = image_only_indicator.shape[-1], self.temporal_res_block
        spatial = self.spatial_res_block(hidden_states, temb)
        hidden = group_norm(spatial, temporal.norm1, frames=frames, silu=True)
        hidden = over_time(temporal.conv1, hidden, frames)
        shift = _shift(temporal.conv1, temporal.time_emb_proj, temb)
        hidden = group_norm(hidden, temporal.norm2, frames=frames, shift=shift, silu=True)
        hidden = over_time(temporal.conv2, hidden, frames)
        return add_branch(spatial, hidden, temporal.conv2.bias, self._temporal_share(image_only_indicator))

    def _temporal_share(self, image_only_indicator: Tensor) -> Tensor:
        """How much of the temporal branch counts: [1] or [R]."""
        spatial: Tensor = self.time_mixer.get_alpha(image_only_indicator, 5).flatten()
        return spatial if self.time_mixer.switch_spatial_to_temporal_mix else 1 - spatial


class FusedTemporalConvLayer(TemporalConvLayer):
    """Four convolutions over time."""

    def forward(self, hidden_states: Tensor, num_frames: int = 1) -> Tensor:
        """Return [R, C, H, W] for `hidden_states` [R, C, H, W] of clips of `num_frames`."""
        hidden, shift = hidden_states, None
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            hidden = group_norm(hidden, layer[0], frames=num_frames, shift=shift, silu=True)
            hidden = over_time(layer[-1], hidden, num_frames)
            shift = layer[-1].bias[None]
        return add_branch(hidden_states, hidden, self.conv4[-1].bias)


class FusedUpsample2D(Upsample2D):
    """Doubles height and width by copying memory once."""

    def forward(self, hidden_states: Tensor, output_size: int | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """Return [R, C_out, 2 H, 2 W] for `hidden_states` [R, C, H, W]; another `output_size` is the stock class's."""
        if output_size is not None:
            made: Tensor = super().forward(hidden_states, output_size, *args, **kwargs)
            return made
        inner = hidden_states.permute(0, 2, 3, 1)
        rows, height, width, channels = inner.shape
        doubled = inner[:, :, None, :, None].expand(rows, height, 2, width, 2, channels)
        large: Tensor = self.conv(doubled.reshape(rows, 2 * height, 2 * width, channels).permute(0, 3, 1, 2))
        return large


def without_bias(convolution: nn.Conv2d, x_RCHW: Tensor) -> Tensor:
    """A convolution, but for its bias."""
    return functional.conv2d(x_RCHW, convolution.weight, None, convolution.stride, convolution.padding)


def over_time(convolution: nn.Conv3d, x_RCHW: Tensor, frames: int) -> Tensor:
    """A convolution over time, but for its bias, of frames in order."""
    height, width = x_RCHW.shape[2:]
    inner = x_RCHW.permute(0, 2, 3, 1).reshape(-1, frames, height * width, x_RCHW.shape[1])
    padding = (int(convolution.padding[0]), 0)
    made = functional.conv2d(inner.permute(0, 3, 1, 2), convolution.weight.flatten(3), None, padding=padding)
    return made.permute(0, 2, 3, 1).reshape(-1, height, width, made.shape[1]).permute(0, 3, 1, 2)


def _shift(convolution: Any, projection: Any, temb_RD: Tensor | None) -> Tensor:
    """What is added before the second norm, [1, C] or [R, C]."""
    bias: Tensor = convolution.bias[None]
    if projection is None or temb_RD is None:
        return bias
    added: Tensor = projection(functional.silu(temb_RD))
    return bias + added


def fuse_blocks(model: nn.Module) -> int:
    """Change the class of every block that has a fused one, in place; blocks that differ from the usual stay.

    Returns:
        How many blocks changed.
    """
    count = 0
    for module in list(model.modules()):
        fused = next((own for stock, own, fits in FUSED if type(module) is stock and fits(module)), None)
        if fused is not None:
            module.__class__ = fused
            count += 1
        if isinstance(getattr(module, "conv_norm_out", None), nn.GroupNorm) and _is_silu(module.conv_act):
            module.conv_norm_out.__class__, module.conv_act = FusedGroupNormSiLU, nn.Identity()
    return count


def _is_silu(module: Any) -> bool:
    return isinstance(module, nn.SiLU)


def _usual_spatial(block: Any) -> bool:
    return (
        block.upsample is block.downsample is None
        and block.time_embedding_norm == "default"
        and block.output_scale_factor == 1
        and not block.skip_time_act
        and _is_silu(block.nonlinearity)
    )


def _usual_temporal(block: Any) -> bool:
    temporal = block.temporal_res_block
    return type(temporal) is TemporalResnetBlock and temporal.conv_shortcut is None and _is_silu(temporal.nonlinearity)


def _usual_upsampling(block: Any) -> bool:
    doubles = block.interpolate and not block.use_conv_transpose
    return bool(doubles and block.use_conv and block.norm is None and block.name == "conv")


FUSED: tuple[tuple[type[nn.Module], type[nn.Module], Any], ...] = (
    (ResnetBlock2D, FusedResnetBlock2D, _usual_spatial),
    (SpatioTemporalResBlock, FusedSpatioTemporalResBlock, _usual_temporal),
    (TemporalConvLayer, FusedTemporalConvLayer, lambda _: True),
    (Upsample2D, FusedUpsample2D, _usual_upsampling),
    (nn.GroupNorm, FusedGroupNorm, lambda _: True),
    (AlphaBlender, FusedAlphaBlender, lambda _: True),
    (GEGLU, FusedGEGLU, lambda _: True),
    (Attention, FusedAttention, usual_attention),
    (BasicTransformerBlock, FusedTransformerBlock, usual_block),
    (TemporalBasicTransformerBlock, FusedTemporalTransformerBlock, usual_temporal_block),
    (Transformer2DModel, FusedTransformer2D, usual_transformer),
    (TransformerTemporalModel, FusedTransformerTemporal, usual_temporal),
    (TransformerSpatioTemporalModel, FusedTransformerSpatioTemporal, usual_spatio_temporal),
)
"""Stock class, the one in its place, and whether a block is as usual."""
