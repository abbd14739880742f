"""VideoCrafter2's U-Net: diffusers' `UNet3DConditionModel` whose time embedding also knows fps and motion.

It leaves everything else to diffusers: the forward pass is the stock one.
"""

from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn

MOTION_COND_DIM = 256
"""Width of T2V-Turbo-v2's motion condition (arXiv 2410.05677)."""

MOTION_GS = 0.05
"""T2V-Turbo-v2's motion guidance, as its authors' demonstration (predict.py) samples."""

MOTION_PERCENTAGE = 0.5
"""Share of the timesteps that it was trained with motion guidance on, the noisiest ones; the demonstration's, too."""


class VideoTimestepEmbedding(TimestepEmbedding):
    """A timestep embedding with guidance, fps and motion conditions.

    VideoCrafter2 adds an embedding of fps after the second layer. T2V-Turbo-v2 adds `motion_cond_proj` and
    `combine_proj`: when a motion condition is given, their output replaces the guidance embedding.

    The condition is one tensor [B, time_cond_proj_dim + 1] or [B, time_cond_proj_dim + 1 + 256]:
    guidance embedding, fps in frames per second, and optionally the motion condition.
    """

    def __init__(
        self, in_channels: int, time_embed_dim: int, *, act_fn: str, cond_proj_dim: int | None, motion_cond: bool
    ) -> None:
        super().__init__(in_channels, time_embed_dim, act_fn=act_fn, cond_proj_dim=cond_proj_dim)
        self.guidance_dim = cond_proj_dim or 0
        self.fps_proj = Timesteps(in_channels, True, 0)
        self.fps_embedding = TimestepEmbedding(in_channels, time_embed_dim, act_fn=act_fn)
        self.motion_cond_proj = nn.Linear(MOTION_COND_DIM, in_channels, bias=False) if motion_cond else None
        self.combine_proj = nn.Linear(2 * in_channels, in_channels, bias=False) if motion_cond else None

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        """Embed a batch of sinusoidal timesteps [B, in_channels].

        Args:
            sample: sinusoidal timestep features.
            condition: see the class; None means no guidance embedding and no fps embedding.

        Returns:
            The embedding [B, time_embed_dim].
        """
        if condition is None:
            return super().forward(sample)  # type: ignore[no-any-return]
        condition = condition.to(sample.dtype)
        guidance, fps, motion = condition.split(
            [self.guidance_dim, 1, condition.shape[1] - self.guidance_dim - 1], dim=1
        )
        sample = sample + self._guidance(guidance, motion)
        embedding = super().forward(sample)
        return embedding + self.fps_embedding(self.fps_proj(fps[:, 0]).to(sample.dtype))  # type: ignore[no-any-return]

    def _guidance(self, guidance: Tensor, motion: Tensor) -> Tensor:
        if self.cond_proj is None:
            return torch.zeros((), dtype=guidance.dtype, device=guidance.device)
        projected: Tensor = self.cond_proj(guidance)
        if motion.shape[1] == 0:
            return projected
        if self.motion_cond_proj is None or self.combine_proj is None:
            raise ValueError("a motion condition was given, but this U-Net was built with motion_cond=False")
        combined: Tensor = self.combine_proj(torch.cat([projected, self.motion_cond_proj(motion)], dim=1))
        return combined


class UNet3DFpsConditionModel(UNet3DConditionModel):
    """`UNet3DConditionModel` with the fps and motion embeddings of VideoCrafter2 and T2V-Turbo-v2.

    Call it as the stock class; pass `timestep_cond=timestep_condition(...)`.

    Args:
        sample_size: of the latents; (height, width) where they aren't square.
        motion_cond: whether T2V-Turbo-v2's two motion projections exist.

    The remaining arguments are those of `UNet3DConditionModel`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int | tuple[int, int] | None = None,
        in_channels: int = 4,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock3D",) * 3, "DownBlock3D"),
        up_block_types: tuple[str, ...] = ("UpBlock3D", *("CrossAttnUpBlock3D",) * 3),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        downsample_padding: int = 1,
        mid_block_scale_factor: float = 1,
        act_fn: str = "silu",
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        num_attention_heads: int | None = None,
        time_cond_proj_dim: int | None = 256,
        motion_cond: bool = False,
    ) -> None:
        stock: dict[str, Any] = {
            "sample_size": sample_size,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "down_block_types": down_block_types,
            "up_block_types": up_block_types,
            "block_out_channels": block_out_channels,
            "layers_per_block": layers_per_block,
            "downsample_padding": downsample_padding,
            "mid_block_scale_factor": mid_block_scale_factor,
            "act_fn": act_fn,
            "norm_num_groups": norm_num_groups,
            "norm_eps": norm_eps,
            "cross_attention_dim": cross_attention_dim,
            "attention_head_dim": attention_head_dim,
            "num_attention_heads": num_attention_heads,
            "time_cond_proj_dim": time_cond_proj_dim,
        }
        super().__init__(**stock)
        self.register_to_config(motion_cond=motion_cond)
        self.time_embedding = VideoTimestepEmbedding(
            block_out_channels[0],
            block_out_channels[0] * 4,
            act_fn=act_fn,
            cond_proj_dim=time_cond_proj_dim,
            motion_cond=motion_cond,
        )


UNet3DFpsConditionModel.__module__ = "vdmini"  # model_index.json names the module to import: `import vdmini` is enough


def timestep_condition(guidance_embedding: Tensor, fps: Tensor, motion: Tensor | None = None) -> Tensor:
    """Pack the conditions of `VideoTimestepEmbedding` into one tensor.

    Args:
        guidance_embedding: [B, time_cond_proj_dim], see `guidance_scale_embedding`.
        fps: frames per second [B].
        motion: T2V-Turbo-v2's motion condition [B, 256], or None.

    Returns:
        float32 [B, time_cond_proj_dim + 1 (+ 256)].
    """
    parts = [guidance_embedding.float(), fps.float()[:, None]]
    return torch.cat(parts if motion is None else [*parts, motion.float()], dim=1)


def guidance_scale_embedding(guidance_scale: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding of 1000 times the guidance scale w (T2V-Turbo-v2, after arXiv 2210.03142).

    Args:
        guidance_scale: w [B].
        dim: width, even.

    Returns:
        float32 [B, dim]: sines, then cosines.
    """
    half = dim // 2
    rate = torch.exp(torch.arange(half, device=guidance_scale.device) * -(torch.tensor(10000.0).log() / (half - 1)))
    phase = guidance_scale.float()[:, None] * 1000.0 * rate[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def motion_condition(timestep: Tensor, motion_gs: float, noisiest: float) -> Tensor:
    """T2V-Turbo-v2's motion condition: the guidance embedding of `motion_gs` where it is noisy, else of 0.

    Args:
        timestep: [B].
        motion_gs: the motion guidance.
        noisiest: the first timestep that has motion guidance.

    Returns:
        float32 [B, 256].
    """
    strength = torch.where(timestep >= noisiest, motion_gs, 0.0)
    return guidance_scale_embedding(strength, MOTION_COND_DIM)
