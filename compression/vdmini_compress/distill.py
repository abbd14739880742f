"""Heals a student: it learns from the right answers and from its teacher.

`L = lambda_task L_task + lambda_output L_output + lambda_icd L_ICD + lambda_mca L_MCA`, which is arXiv 2411.18375 with
`lambda_output` 0, `lambda_icd` 0.1 and `lambda_mca` 1. It leaves stepping and saving to `vdmini_compress.training`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vdmini.families.base import Family
from vdmini_compress import consistency
from vdmini_compress.data import Batch, Cache, World
from vdmini_compress.discriminator import Discriminator, View
from vdmini_compress.losses import (
    hinge_discriminator_loss,
    hinge_generator_loss,
    icd_loss,
    output_loss,
    pseudo_huber,
    r1_penalty,
)
from vdmini_compress.precision import mixed_precision
from vdmini_compress.recipe import Distill
from vdmini_compress.recompute import recomputed
from vdmini_compress.taps import tapped
from vdmini_compress.teachers.train import fast_attention
from vdmini_compress.text_batch import TextBatch
from vdmini_compress.training import Losses, Opponent, Run, Schedule, Watch

FITTED_CLIPS = 8
"""From how many clips' features, of as many noise levels, the discriminator's units are taken."""


@dataclass(frozen=True)
class Seen:
    """What a shard's step leaves for the discriminator's: clean latents, detached."""

    batch: Any
    real: Tensor
    fake: Tensor


class Distillation:
    """Named losses of one distillation; it owns no optimizer.

    Args:
        family: of teacher and student.
        pipeline: the teacher's; its U-Net is frozen and never changed.
        student: the U-Net that learns.
        world: where batches come from.
        cache: encoded clips.
        channel_weight_C: how much an error in each latent channel counts, mean 1.
        settings: weights of the losses and the batch size.
        encoder: the U-Net whose Down stages the discriminator sees through; the teacher's by default. SF-V takes the
            multi-step model that the teacher was made from.
    """

    def __init__(
        self,
        family: Family,
        pipeline: Any,
        student: nn.Module,
        world: World,
        cache: Cache,
        channel_weight_C: Tensor,
        settings: Distill,
        *,
        encoder: nn.Module | None = None,
    ) -> None:
        self.pipeline, self.student, self.world, self.cache, self.settings = pipeline, student, world, cache, settings
        self.teacher_taps, self.student_taps = family.taps(pipeline.unet), family.taps(student)
        self.channel_weight_C = channel_weight_C.to(pipeline.device)
        self.encoder = pipeline.unet if encoder is None else encoder
        for frozen in (pipeline.unet, self.encoder):
            frozen.requires_grad_(False)  # before the view is fitted, so that a resumed run fits the same one
        self.discriminator: Discriminator | None = None
        if settings.lambda_mca:
            self.discriminator, self.view = self._discriminator()
        self._seen: dict[int, Seen] = {}

    def _discriminator(self) -> tuple[Discriminator, View]:
        generator, pairs = torch.Generator().manual_seed(0), []
        for _ in range(math.ceil(FITTED_CLIPS / self.settings.batch_size)):
            batch = self.world.draw(self.pipeline, self.cache, self.settings, generator)
            clip, blank = batch.renoised([batch.target_BFCHW, torch.zeros_like(batch.target_BFCHW)], generator)
            pairs.append((clip, blank))
        with mixed_precision(self.pipeline.device):
            view = View.fitted(self.encoder, pairs)
        return Discriminator.of(self.encoder, batch.condition_BD.shape[1]).to(self.pipeline.device), view

    def losses(self, generator: torch.Generator, _: int) -> Losses:
        """Draw a batch and compute the weighted losses of the student.

        Returns:
            Those whose weight is not 0 of "task" (the base model's own), "output" (against the teacher's answer), "icd"
            (features of each frame against the teacher's) and "mca" (what the discriminator says).
        """
        wanted = self.settings
        batch = self.world.draw(self.pipeline, self.cache, wanted, generator)
        with mixed_precision(self.pipeline.device):
            with torch.no_grad(), tapped(self.pipeline.unet, self.teacher_taps) as teacher_features:
                right = batch.run(self.pipeline.unet)
            with tapped(self.student, self.student_taps) as student_features:
                made = batch.run(self.student)
        clean, right_clean = batch.denoised(made), batch.denoised(right)
        answer = batch.compared(made, clean)
        losses: Losses = {}
        if wanted.lambda_task:
            losses["task"] = wanted.lambda_task * self._task(batch, made, answer, right)
        if wanted.lambda_output:
            teachers = batch.compared(right, right_clean)
            difference = output_loss(answer, teachers, batch.weight_BFHW, self.channel_weight_C)
            losses["output"] = wanted.lambda_output * difference
        if wanted.lambda_icd:
            losses["icd"] = wanted.lambda_icd * icd_loss(student_features, teacher_features)
        if self.discriminator is not None:
            losses["mca"] = wanted.lambda_mca * self._mca(batch, clean, generator)
            real = right_clean if wanted.real == "teacher" else batch.target_BFCHW
            self._seen[generator.initial_seed()] = Seen(batch, real, clean.detach())
        return losses

    def _task(self, batch: Batch, made: Tensor, answer: Tensor, right: Tensor) -> Tensor:
        """The base model's own loss, see `Distill.task_loss`."""
        if self.settings.task_loss == "squared":
            return output_loss(answer, batch.right_BFCHW, batch.weight_BFHW, self.channel_weight_C)
        weight = batch.weight_BFHW[:, :, None] * self.channel_weight_C[:, None, None]
        if self.settings.task_loss == "pseudo-huber":
            return pseudo_huber(answer, batch.right_BFCHW, weight)
        if not isinstance(batch, TextBatch) or not batch.consistency:
            raise TypeError("a consistency loss needs a batch of a latent consistency model")
        return pseudo_huber(consistency.consistency_function(batch, made), self._lower(batch, right), weight)

    @torch.no_grad()
    def _lower(self, batch: TextBatch, right: Tensor) -> Tensor:
        """The student's own answer one solver step further down."""
        lower = consistency.solver_step(batch, right)
        with mixed_precision(self.pipeline.device):
            made = lower.run(self.student)
        return consistency.consistency_function(lower, made)

    def _mca(self, batch: Any, clean: Tensor, generator: torch.Generator) -> Tensor:
        assert self.discriminator is not None  # noqa: S101 - for the type checker; the caller has looked
        noised, blank = batch.renoised([clean, torch.zeros_like(clean)], generator)
        with mixed_precision(self.pipeline.device):
            (features,) = self.view([noised], blank)
            logits = self.discriminator(features, noised)
        return hinge_generator_loss(logits)

    def discriminator_losses(self, generator: torch.Generator, _: int) -> Losses:
        """The discriminator's losses on what the student's step with the same generator left behind.

        Returns:
            "discriminator" (hinge), and "r1" when `lambda_r1` is not 0.
        """
        assert self.discriminator is not None  # noqa: S101 - for the type checker; it has no step otherwise
        seen = self._seen.pop(generator.initial_seed())
        with mixed_precision(self.pipeline.device):
            with torch.no_grad():
                clips = [seen.real, seen.fake, torch.zeros_like(seen.real)]
                real, fake, blank = seen.batch.renoised(clips, generator)
                real_features, fake_features = self.view([real, fake], blank)
            if self.settings.lambda_r1:
                real_features = [features.requires_grad_() for features in real_features]
            real_logits = self.discriminator(real_features, real)
            fake_logits = self.discriminator(fake_features, fake)
        losses = {"discriminator": hinge_discriminator_loss(real_logits, fake_logits)}
        if self.settings.lambda_r1:
            losses["r1"] = self.settings.lambda_r1 * r1_penalty(real_logits, real_features)
        return losses

    def opponent(self) -> Opponent | None:
        """The discriminator as the trainer wants it, if there is one."""
        if self.discriminator is None:
            return None
        return Opponent(self.discriminator, self.settings.discriminator_learning_rate, self.discriminator_losses)


def heal(
    distillation: Distillation,
    folder: Path,
    *,
    seed: int,
    report: Callable[[str], None],
    watch: Watch | None = None,
) -> float:
    """Train the student to the end, resuming what `folder` holds.

    A sharded student is whole again in the first process alone, and empty elsewhere.

    Returns:
        Seconds of training in all.
    """
    settings = distillation.settings
    schedule = Schedule(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        ema_decay=settings.ema_decay,
        optimizer=settings.optimizer,
        checkpoint_every=settings.checkpoint_every,
        shards=settings.shards,
        sharding=settings.sharding,
        log_every=max(1, min(50, settings.steps // 10)),
        seed=seed,
    )
    # No dropout: diffusers' temporal convolutions have 0.1 of it, drawn from the global generator, and it blurs frames.
    student: Any = distillation.student.requires_grad_(True).eval()
    wanted = settings.gradient_checkpointing
    # The discriminator's encoder never learns, but MCA's gradient passes through it to the student's clips.
    with (
        recomputed(student, wanted=wanted),
        recomputed(distillation.encoder, wanted=wanted and bool(settings.lambda_mca)),
    ):
        run = Run(folder, student, schedule, report=report, opponent=distillation.opponent(), watch=watch)
        distillation.student = run.model
        try:
            with fast_attention(distillation.pipeline.device):
                run.train(distillation.losses)
        finally:
            distillation.student = student
    return run.seconds
