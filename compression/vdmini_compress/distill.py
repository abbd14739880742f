"""Heals a student: it learns from the right answers, the teacher's outputs and the teacher's features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vdmini.families import Family
from vdmini_compress.data import Cache, World
from vdmini_compress.losses import icd_loss, output_loss
from vdmini_compress.precision import mixed_precision
from vdmini_compress.recipe import Distill
from vdmini_compress.taps import tapped
from vdmini_compress.teachers.autoencoder import decoder_sensitivity
from vdmini_compress.teachers.train import fast_attention
from vdmini_compress.training import Losses, Run, Schedule


class Distillation:
    """Named losses of one distillation; it owns no optimizer.

    Args:
        family: of teacher and student.
        pipeline: the teacher's; its U-Net is never changed.
        student: the U-Net that learns.
        world: where batches come from.
        cache: encoded clips.
        settings: weights of the losses and the batch size.
    """

    def __init__(
        self, family: Family, pipeline: Any, student: nn.Module, world: World, cache: Cache, settings: Distill
    ) -> None:
        self.pipeline, self.student, self.world, self.cache, self.settings = pipeline, student, world, cache, settings
        self.teacher_taps, self.student_taps = family.taps(pipeline.unet), family.taps(student)
        latents = next(value for name, value in cache.items() if name == "latents_NFCHW")
        self.channel_weight_C = decoder_sensitivity(pipeline.vae, latents)

    def losses(self, generator: torch.Generator, _: int) -> Losses:
        """Draw a batch and compute the weighted losses.

        Returns:
            "task" (against the right answer), "output" (against the teacher) and "icd" (feature distance).
        """
        batch = self.world.draw(self.pipeline, self.cache, self.settings.batch_size, generator)
        with mixed_precision(self.pipeline.device):
            with torch.no_grad(), tapped(self.pipeline.unet, self.teacher_taps) as teacher_features:
                right = batch.run(self.pipeline.unet)
            with tapped(self.student, self.student_taps) as student_features:
                made = batch.run(self.student)
        clean, weight = batch.denoised(made), batch.weight_BFHW
        return {
            "task": self.settings.lambda_task * output_loss(clean, batch.target_BFCHW, weight, self.channel_weight_C),
            "output": self.settings.lambda_output
            * output_loss(clean, batch.denoised(right), weight, self.channel_weight_C),
            "icd": self.settings.lambda_icd * icd_loss(student_features, teacher_features),
        }


def heal(distillation: Distillation, folder: Path, *, seed: int, report: Callable[[str], None]) -> float:
    """Train the student to the end, resuming what `folder` holds.

    Returns:
        Seconds of training in all.
    """
    settings = distillation.settings
    schedule = Schedule(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        ema_decay=settings.ema_decay,
        checkpoint_every=settings.checkpoint_every,
        shards=settings.shards,
        log_every=max(1, min(50, settings.steps // 10)),
        seed=seed,
    )
    distillation.pipeline.unet.requires_grad_(False)
    # No dropout: diffusers' temporal convolutions have 0.1 of it, drawn from the global generator, and it blurs frames.
    distillation.student.requires_grad_(True).eval()
    run = Run(folder, distillation.student, schedule, report=report)
    with fast_attention(distillation.pipeline.device):
        run.train(distillation.losses)
    return run.seconds
