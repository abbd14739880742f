"""A batch of an image-to-video model: noisy latents with their conditions and the right answer.

Legend: B clips, F frames, C latent channels, H height, W width of the latents, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vdmini_compress.noise import DISCRIMINATOR_LEVELS, draw_levels, karras_sigmas, log_normal_shares

SIGMA_MAX = 700.0
"""Where a single-forward model samples (arXiv 2406.04324)."""

NOISE_AUG_STRENGTH = 0.02
MOVING_WEIGHT = 3.0
"""How much more an error counts where something moves (the sprite is a tenth of the picture)."""


def moving_weight(latents_BFCHW: Tensor) -> Tensor:
    """Weights [B, F, H, W], mean 1 in each clip: up to `MOVING_WEIGHT` times as much where a frame left the first.

    A camera changes everything and a sprite little, so without the mean of 1 the camera's clips would decide alone.
    """
    change = (latents_BFCHW - latents_BFCHW[:, :1]).abs().mean(dim=2)
    weight = 1 + (MOVING_WEIGHT - 1) * (change / 0.6).clamp(max=1)
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


@lru_cache(maxsize=1)
def _discriminator_levels() -> tuple[Tensor, Tensor]:
    sigmas = karras_sigmas(DISCRIMINATOR_LEVELS)
    return sigmas, log_normal_shares(sigmas)


@dataclass(frozen=True)
class ImageBatch:
    """Noisy latents x = target + sigma * noise under SVD's preconditioning, with the conditions of SVD.

    Args:
        target_BFCHW: scaled clean latents, float32.
        noisy_BFCHW: x.
        sigma_B: noise level of each clip.
        image_latents_BCHW: unscaled latents of the first frame, as SVD concatenates them.
        image_embeds_BD: the image encoder's embedding of the first frame.
        added_time_ids: fps - 1, motion_bucket_id and noise_aug_strength, [B, 3].
    """

    target_BFCHW: Tensor
    noisy_BFCHW: Tensor
    sigma_B: Tensor
    image_latents_BCHW: Tensor
    image_embeds_BD: Tensor
    added_time_ids: Tensor

    @property
    def weight_BFHW(self) -> Tensor:
        """See `moving_weight`."""
        return moving_weight(self.target_BFCHW)

    @property
    def condition_BD(self) -> Tensor:
        """What a discriminator is told besides the noise level: the picture's embedding, fps and motion."""
        scaled = self.added_time_ids[:, :2] / self.added_time_ids.new_tensor([30.0, 255.0])
        return torch.cat([self.image_embeds_BD, scaled], dim=1)

    @property
    def log_sigma_B(self) -> Tensor:
        """Natural logarithm of each clip's noise level."""
        return self.sigma_B.log()

    @staticmethod
    def draw(
        cache: dict[str, Tensor], index: Tensor, generator: torch.Generator, *, sigmas: Sequence[float] = (SIGMA_MAX,)
    ) -> "ImageBatch":
        """Noise the clips `index` of the cache.

        Args:
            cache: encoded clips, on any device, where the batch will be; without "fps_N" the fps says nothing and is
                drawn from 5..30.
            index: which clips, int64 [B].
            generator: source of all randomness, on the CPU.
            sigmas: noise levels to draw from, uniformly (SF-V trains on 2.27, 70.5 and 700).
        """
        target = cache["latents_NFCHW"][index].float()
        drawn_fps = torch.randint(5, 31, (len(index),), generator=generator).to(target)
        fps = cache["fps_N"][index].float() if "fps_N" in cache else drawn_fps
        bucket = cache["motion_bucket_id_N"][index].float()
        noise = torch.randn(target.shape, generator=generator).to(target)
        levels = torch.tensor(sigmas)
        sigma = levels[torch.randint(len(levels), (len(index),), generator=generator)].to(target)
        return ImageBatch(
            target,
            target + _wide(sigma) * noise,
            sigma,
            cache["image_latents_NCHW"][index].float(),
            cache["image_embeds_ND"][index].float(),
            torch.stack([fps - 1, bucket, torch.full_like(fps, NOISE_AUG_STRENGTH)], dim=1),
        )

    def to(self, device: torch.device) -> "ImageBatch":
        """The same batch on a device."""
        return ImageBatch(*(getattr(self, f.name).to(device) for f in fields(self)))

    def run(self, unet: Any) -> Tensor:
        """The U-Net's output F [B, F, C, H, W]."""
        image = self.image_latents_BCHW[:, None].expand_as(self.noisy_BFCHW)
        sample = torch.cat([self.noisy_BFCHW / _wide(self.sigma_B**2 + 1).sqrt(), image], dim=2)
        made: Tensor = unet(
            sample, 0.25 * self.sigma_B.log(), self.image_embeds_BD[:, None], added_time_ids=self.added_time_ids
        ).sample
        return made

    def denoised(self, model_output: Tensor) -> Tensor:
        """The clean latents that an output F means: c_skip x + c_out F (arXiv 2206.00364, eq. 7), float32."""
        square = _wide(self.sigma_B**2)
        clean: Tensor = self.noisy_BFCHW / (square + 1) - model_output.float() * (square / (square + 1)).sqrt()
        return clean

    def compared(self, model_output: Tensor, clean: Tensor) -> Tensor:  # noqa: ARG002 - the protocol's signature
        """The clean latents."""
        return clean

    @property
    def right_BFCHW(self) -> Tensor:
        """What `compared` should be."""
        return self.target_BFCHW

    def renoised(self, clips: Sequence[Tensor], generator: torch.Generator) -> "list[ImageBatch]":
        """Clips as a discriminator sees them: all noised alike, to log-normal levels (arXiv 2406.04324, section 4.2).

        Args:
            clips: scaled clean latents [B, F, C, H, W], such as the teacher's and the student's.
            generator: source of the levels and of the noise.

        Returns:
            A batch per entry of `clips`, under the same conditions.
        """
        sigmas, shares = _discriminator_levels()
        sigma = sigmas[draw_levels(shares, len(self.sigma_B), generator)].to(self.sigma_B.device)
        noise = torch.randn(self.target_BFCHW.shape, generator=generator).to(self.sigma_B.device)
        return [replace(self, noisy_BFCHW=clip + _wide(sigma) * noise, sigma_B=sigma) for clip in clips]


def _wide(value_B: Tensor) -> Tensor:
    return value_B[:, None, None, None, None]
