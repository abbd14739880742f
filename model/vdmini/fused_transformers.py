"""The transformers of diffusers' video U-Nets with fewer passes over memory; results differ by rounding alone.

Stock ones give frames back with channels outermost, so that what follows turns them around again; and where the context
is a single token, as Stable Video Diffusion's picture is, they ask every place how much of it to attend to, though the
answer is 1. Blocks keep their weights and names: only their class changes.

Legend: R frames of all clips, B clips, F frames of each, C channels, H height, W width, K tokens of the context, D its
features, L places or frames that attend to each other, N rows of those.
"""

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import AlphaBlender
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import (
    TransformerSpatioTemporalModel,
    TransformerTemporalModel,
    TransformerTemporalModelOutput,
)
from torch import Tensor

from vdmini.fused_operators import gated_gelu


class FusedGEGLU(GEGLU):
    """A gated layer whose two halves are multiplied at once."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return [N, L, D_out] for `hidden_states` [N, L, D]."""
        return gated_gelu(self.proj(hidden_states))


class FusedAlphaBlender(AlphaBlender):
    """Blends space and time in one pass."""

    def forward(self, x_spatial: Tensor, x_temporal: Tensor, image_only_indicator: Tensor | None = None) -> Tensor:
        """Return the blend of two tensors of the same shape, [R, L, C] or [B, C, F, H, W]."""
        spatial = self.get_alpha(image_only_indicator, x_spatial.ndim).to(x_spatial.dtype)
        if self.switch_spatial_to_temporal_mix:
            spatial = 1 - spatial
        return torch.lerp(x_temporal, x_spatial, spatial)


class FusedCrossAttention(Attention):
    """Attention to a context; a single token of it gets all attention from everywhere."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return [N, L, C] for [N, L, C] and a context [N, K, D]; [N, 1, C] or [1, 1, C] where the context is that."""
        if encoder_hidden_states is None or encoder_hidden_states.shape[1] != 1 or attention_mask is not None:
            attended: Tensor = super().forward(hidden_states, encoder_hidden_states, attention_mask, **kwargs)
            return attended
        told: Tensor = self.to_out[0](self.to_v(encoder_hidden_states))
        return told


class FusedTransformer2D(Transformer2DModel):
    """Attention within a frame."""

    def _get_output_for_continuous_inputs(
        self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> Tensor:
        """Return [R, C, H, W] for `hidden_states` [R, H W, C] and `residual` [R, C, H, W]."""
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        frames = hidden_states.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)
        return residual + (frames if self.use_linear_projection else self.proj_out(frames))


class FusedTransformerTemporal(TransformerTemporalModel):
    """Attention between the frames of a clip, place by place."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        timestep: Tensor | None = None,
        class_labels: Tensor | None = None,
        num_frames: int = 1,
        cross_attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """See the stock class; `hidden_states` are [R, C, H, W]."""
        count, channels, height, width = hidden_states.shape
        clips = hidden_states.unflatten(0, (count // num_frames, num_frames))
        normal = self.norm(clips.transpose(1, 2))
        rows = self.proj_in(normal.permute(0, 3, 4, 2, 1).reshape(-1, num_frames, channels))
        told = {"timestep": timestep, "class_labels": class_labels, "cross_attention_kwargs": cross_attention_kwargs}
        for block in self.transformer_blocks:
            rows = block(rows, encoder_hidden_states=encoder_hidden_states, **told)
        made = self.proj_out(rows).reshape(-1, height, width, num_frames, channels).permute(0, 3, 1, 2, 4)
        frames = hidden_states + made.reshape(count, height, width, channels).permute(0, 3, 1, 2)
        return TransformerTemporalModelOutput(sample=frames) if return_dict else (frames,)


class FusedTransformerSpatioTemporal(TransformerSpatioTemporalModel):
    """Attention within a frame and between frames, blended."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """See the stock class; `hidden_states` are [R, C, H, W], the context [R, K, D], the indicator [B, F]."""
        assert encoder_hidden_states is not None  # noqa: S101 - for the type checker; the stock block needs both, too
        assert image_only_indicator is not None  # noqa: S101
        count, _, height, width = hidden_states.shape
        num_frames = image_only_indicator.shape[-1]
        rows = self.proj_in(self.norm(hidden_states).permute(0, 2, 3, 1).flatten(1, 2))
        when = self._when(count // num_frames, num_frames, rows)
        context = _everywhere(encoder_hidden_states[::num_frames], height * width)
        for spatial, temporal in zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True):
            rows = spatial(rows, encoder_hidden_states=encoder_hidden_states)
            moved = temporal(rows + when, num_frames=num_frames, encoder_hidden_states=context)
            rows = self.time_mixer(x_spatial=rows, x_temporal=moved, image_only_indicator=image_only_indicator)
        made = self.proj_out(rows).reshape(count, height, width, -1).permute(0, 3, 1, 2)
        frames = hidden_states + made
        return TransformerTemporalModelOutput(sample=frames) if return_dict else (frames,)

    def _when(self, clips: int, num_frames: int, like: Tensor) -> Tensor:
        """An embedding of each frame's number, [R, 1, C]."""
        numbers = torch.arange(num_frames, device=like.device).repeat(clips)
        embedded: Tensor = self.time_pos_embed(self.time_proj(numbers).to(like.dtype))
        return embedded[:, None]


def _everywhere(context_BKD: Tensor, places: int) -> Tensor:
    """The context of every place's frames, [B places, K, D]; a single token of a single clip needs no copies."""
    if context_BKD.shape[:2] == (1, 1):
        return context_BKD
    return context_BKD[:, None].expand(-1, places, -1, -1).flatten(0, 1)


def usual_cross_attention(attention: Any) -> bool:
    """Whether it is a plain one of a context, with neither norms nor a residual of its own."""
    return bool(
        attention.is_cross_attention
        and attention.norm_cross is attention.group_norm is attention.spatial_norm is None
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


def usual_spatio_temporal(transformer: Any) -> bool:
    """Whether its temporal blocks can be told of a context that isn't copied for every place."""
    return all(usual_cross_attention(block.attn2) for block in transformer.temporal_transformer_blocks if block.attn2)


def usual_transformer(transformer: Any) -> bool:
    """Whether it sees frames rather than patches or tokens."""
    return bool(transformer.is_input_continuous)
