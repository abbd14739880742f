"""What a student learns from: encoded clips of the small world and batches of them.

Legend: B clips, F frames, C latent channels, H height, W width of the latents, L tokens, D features.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from vdmini.families import family_of
from vdmini.families.base import TextFamily
from vdmini_compress.image_batch import ImageBatch
from vdmini_compress.recipe import Distill
from vdmini_compress.teachers import image_to_video as i2v
from vdmini_compress.teachers import text_to_video as t2v
from vdmini_compress.text_batch import NoiseSchedule, TextBatch, draw_timesteps

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

    def compared(self, model_output: Tensor, clean: Tensor) -> Tensor:
        """Which of the two errors are measured of: an output, or the clean latents that it means; float32."""
        ...

    @property
    def right_BFCHW(self) -> Tensor:
        """What `compared` should be."""
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
        family, captions = text_family(pipeline), [films[i][0].caption for i in picked]
        parts = [family.encode_prompts(pipeline, captions[n : n + 64]) for n in range(0, len(captions), 64)]
        return cache | {"features_NLD": torch.cat(parts).cpu()}

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:
        """See `World`; how is what the family's lesson says, and `Distill.from_noise` where it says another share."""
        family, count = text_family(pipeline), settings.batch_size
        lesson, schedule = family.lesson, NoiseSchedule.of(pipeline.scheduler)
        index = torch.randint(len(cache["fps_N"]), (count,), generator=generator)
        levels = family.timesteps(pipeline.scheduler, settings.timesteps)
        share = lesson.from_noise_share if settings.from_noise is None else settings.from_noise
        timestep = draw_timesteps(levels, count, generator, from_noise_share=share)
        told = partial(family.condition, pipeline.unet)
        batch = TextBatch.draw(schedule, cache, index, timestep, told, generator, consistency=lesson.consistency)
        if lesson.blank_share:
            with torch.no_grad():
                blank = family.encode_prompts(pipeline, [""]).cpu()
            batch = batch.without_captions(torch.rand(count, generator=generator) < lesson.blank_share, blank)
        return batch.to(pipeline.device)


def text_family(pipeline: Any) -> TextFamily:
    """The family of a text-to-video pipeline.

    Raises:
        TypeError: when it is of another task, or of no family.
    """
    family = family_of(type(pipeline.unet))
    if not isinstance(family, TextFamily):
        raise TypeError(f"family {family.name} makes no video from text; give a text-to-video model")
    return family


WORLDS: dict[str, World] = {"i2v": ImageWorld(), "t2v": TextWorld()}
