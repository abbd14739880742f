"""The small multi-step teacher: the image-to-video model trained as Stable Video Diffusion is, as a diffusion model.

It is what `vdmini-compress single-forward` starts from, and through whose encoder discriminators see: unlike the
single-forward teacher it has learned to look at noisy latents of every level.
"""

from collections.abc import Callable

import torch
from diffusers import UNetSpatioTemporalConditionModel
from torch import Tensor

from vdmini_compress.image_batch import ImageBatch
from vdmini_compress.noise import karras_sigmas
from vdmini_compress.precision import mixed_precision
from vdmini_compress.teachers.autoencoder import weighted_square
from vdmini_compress.teachers.image_to_video import SmallImageToVideo
from vdmini_compress.training import Losses, Schedule

SAMPLING_STEPS = 25
MOST_WEIGHT = 4.0
"""Bound of the weight (sigma^2 + 1) / sigma^2 that makes the error one of the U-Net's output (arXiv 2206.00364, eq. 8):
at the lowest levels that output is noise no model can know."""


class SmallMultiStep(SmallImageToVideo):
    """How it is made."""

    name = "small-svd"
    decoder_schedule: Schedule | None = None
    denoiser_schedule = Schedule(steps=1000, learning_rate=1e-3, shards=2, checkpoint_every=100, seed=2)

    def denoiser_losses(
        self, denoiser: UNetSpatioTemporalConditionModel, cache: dict[str, Tensor], device: torch.device
    ) -> Callable[[torch.Generator, int], Losses]:
        """The weighted squared error of the clean latents, at every level that sampling in 25 steps visits alike."""
        sigmas = tuple(karras_sigmas(SAMPLING_STEPS).tolist())

        def losses(generator: torch.Generator, _: int) -> Losses:
            index = torch.randint(len(cache["motion_bucket_id_N"]), (self.batch_size,), generator=generator)
            batch = ImageBatch.draw(cache, index, generator, sigmas=sigmas).to(device)
            with mixed_precision(device):
                made = batch.run(denoiser)
            level = (1 + batch.sigma_B**-2).clamp(max=MOST_WEIGHT)[:, None, None]
            weight = batch.weight_BFHW
            error = weighted_square(batch.denoised(made) - batch.target_BFCHW, cache["channel_weight_C"])
            return {"task": (error * weight * level[..., None]).sum() / weight.sum()}

        return losses
