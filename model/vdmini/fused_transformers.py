"""The transformers of diffusers' video U-Nets with fewer passes over memory; results differ by rounding alone.

Stock ones give frames back with channels outermost, so that what follows turns them around again, and they turn places
and frames around before and after every attention over time. Blocks keep their weights and names: only their class
changes. `vdmini.fused_attention` has what is inside of them.

Legend: R frames of all clips, B clips, F frames of each, C channels, H height, W width, K tokens of the context, D its
features, L rows.
"""

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import AlphaBlender
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import (
    TransformerSpatioTemporalModel,
    TransformerTemporalModel,
    TransformerTemporalModelOutput,
)
from torch import Tensor

from vdmini.fused_attention import attends_to_itself, usual_block, usual_temporal_block
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
        *,
        num_frames: int = 1,
        return_dict: bool = True,
        **others: Any,
    ) -> Any:
        """See the stock class, which does what no U-Net for videos asks; `hidden_states` are [R, C, H, W]."""
        if encoder_hidden_states is not None or any(other is not None for other in others.values()):
            told = {"num_frames": num_frames, "return_dict": return_dict} | others
            return super().forward(hidden_states, encoder_hidden_states, **told)
        count, channels, height, width = hidden_states.shape
        clips = hidden_states.unflatten(0, (count // num_frames, num_frames))
        normal = self.norm(clips.transpose(1, 2)).permute(0, 2, 3, 4, 1).flatten(2, 3)
        rows = self.proj_in(normal)
        for block in self.transformer_blocks:
            rows = block.over_time(rows)
        made = self.proj_out(rows).reshape(count, height, width, channels).permute(0, 3, 1, 2)
        frames = hidden_states + made
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
        clips, frames = image_only_indicator.shape
        rows = self.proj_in(self.norm(hidden_states).permute(0, 2, 3, 1).flatten(1, 2))
        when = self._when(clips, frames, rows)
        context = encoder_hidden_states[::frames]
        for spatial, temporal in zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True):
            rows = spatial(rows, encoder_hidden_states=encoder_hidden_states)
            moved = temporal.over_time((rows + when).unflatten(0, (clips, frames)), context).flatten(0, 1)
            rows = self.time_mixer(x_spatial=rows, x_temporal=moved, image_only_indicator=image_only_indicator)
        made = self.proj_out(rows).reshape(count, height, width, -1).permute(0, 3, 1, 2)
        sample = hidden_states + made
        return TransformerTemporalModelOutput(sample=sample) if return_dict else (sample,)

    def _when(self, clips: int, num_frames: int, like: Tensor) -> Tensor:
        """An embedding of each frame's number, [R, 1, C]."""
        numbers = torch.arange(num_frames, device=like.device).repeat(clips)
        embedded: Tensor = self.time_pos_embed(self.time_proj(numbers).to(like.dtype))
        return embedded[:, None]


def usual_transformer(transformer: Any) -> bool:
    """Whether it sees frames rather than patches or tokens."""
    return bool(transformer.is_input_continuous)


def usual_temporal(transformer: Any) -> bool:
    """Whether its blocks are a video U-Net's and need no context."""
    return all(usual_block(block) and attends_to_itself(block) for block in transformer.transformer_blocks)


def usual_spatio_temporal(transformer: Any) -> bool:
    """Whether its temporal blocks are a video U-Net's."""
    return all(usual_temporal_block(block) for block in transformer.temporal_transformer_blocks)
