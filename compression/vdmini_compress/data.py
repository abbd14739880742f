"""What a student learns from: encoded clips of the small world and batches of them.

Legend: B clips, F frames, C latent channels, H height, W width of the latents, L tokens, D features.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vdmini_compress.image_batch import ImageBatch
from vdmini_compress.recipe import Distill
from vdmini_compress.teachers import image_to_video as i2v
from vdmini_compress.teachers import text_to_video as t2v
from vdmini_compress.text_batch import NoiseSchedule, TextBatch

Cache = dict[str, Tensor]
Report = Callable[[str], None]


class Batch(Protocol):
    """Noisy latents with their conditions and the right answer."""

    @property
    def target_BFCHW(self) -> Tensor:
        """The clean latents."""
        ...

    @property
    def weight_BFHW(self) -> Tensor:
        """How much an error counts at each place."""
        ...

    @property
    def condition_BD(self) -> Tensor:
        """What a discriminator is told besides the noise level."""
        ...

    @property
    def log_sigma_B(self) -> Tensor:
        """Natural logarithm of each clip's noise level."""
        ...

    def run(self, unet: Any) -> Tensor:
        """A U-Net's raw output on this batch."""
        ...

    def denoised(self, model_output: Tensor) -> Tensor:
        """The clean latents [B, F, C, H, W], float32, that an output means."""
        ...

    def renoised(self, clips: Sequence[Tensor], generator: torch.Generator) -> "Sequence[Batch]":
        """Clips [B, F, C, H, W] as a discriminator sees them: all noised alike, under this batch's conditions."""
        ...


class World(Protocol):
    """A source of encoded clips for one task."""

    def encode(self, pipeline: Any, count: int, seed: int, report: Report) -> Cache:
        """Encode `count` clips with the teacher's own encoders.

        Returns:
            Tensors whose names end in their axes, N being the clips.
        """
        ...

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:
        """Draw one batch."""
        ...


class ImageWorld:
    """The small image-to-video world."""

    def encode(self, pipeline: Any, count: int, seed: int, report: Report) -> Cache:
        """See `World`."""
        return i2v.encode_clips(pipeline.vae, pipeline.image_encoder, count, seed + 2, report)

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:
        """See `World`."""
        index = torch.randint(len(cache["motion_bucket_id_N"]), (settings.batch_size,), generator=generator)
        return ImageBatch.draw(cache, index, generator, sigmas=settings.sigmas).to(pipeline.device)


class TextWorld:
    """The small text-to-video world."""

    def encode(self, pipeline: Any, count: int, seed: int, report: Report) -> Cache:
        """See `World`."""
        films = t2v.training_films()
        picked = torch.randperm(len(films), generator=torch.Generator().manual_seed(seed))[:count]
        cache = t2v.encode_scenes(pipeline.vae, pipeline.tokenizer, [films[i] for i in picked], report)
        tokens = cache["tokens_NL"].to(pipeline.device)
        parts = [pipeline.text_encoder(ids).last_hidden_state for ids in torch.split(tokens, 64)]
        return cache | {"features_NLD": torch.cat(parts).cpu()}

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:
        """See `World`; `Distill.from_noise` says how many clips start where sampling starts."""
        index = torch.randint(len(cache["fps_N"]), (settings.batch_size,), generator=generator)
        visited = t2v.timesteps_of(pipeline.scheduler, settings.timesteps)
        timestep = t2v.draw_timesteps(visited, settings.batch_size, generator, highest=settings.from_noise)
        schedule, width = NoiseSchedule.of(pipeline.scheduler), int(pipeline.unet.config.time_cond_proj_dim)
        return TextBatch.draw(schedule, cache, index, timestep, width, generator).to(pipeline.device)


WORLDS: dict[str, World] = {"i2v": ImageWorld(), "t2v": TextWorld()}
