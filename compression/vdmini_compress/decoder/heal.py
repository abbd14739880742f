"""Heals a compressed decoder: it learns from the original decoder and from the true clips.

It leaves stepping and saving to `vdmini_compress.training`. Legend: B clips, F frames, N single frames, H height,
W width, 3 colour channels, pixels in -1..1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vdmini_compress.decoder.discriminator import PatchDiscriminator
from vdmini_compress.decoder.films import Films, to_pixels
from vdmini_compress.decoder.losses import perceptual_loss, reconstruction_loss, temporal_loss
from vdmini_compress.decoder.perceptual import Features
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.losses import hinge_discriminator_loss, hinge_generator_loss
from vdmini_compress.precision import mixed_precision
from vdmini_compress.teachers.autoencoder import decode
from vdmini_compress.training import Losses, Opponent, Run, Schedule


@dataclass(frozen=True)
class Batch:
    """Clips on the device: what goes in, and what shall come out.

    Args:
        latents_BFCHW: unscaled, float32.
        original_BF3HW: the original decoder's pixels.
        true_BF3HW: the right ones.
        weight_BF1HW: how much each pixel counts.
    """

    latents_BFCHW: Tensor
    original_BF3HW: Tensor
    true_BF3HW: Tensor
    weight_BF1HW: Tensor

    @staticmethod
    def draw(films: Films, count: int, generator: torch.Generator, device: torch.device) -> "Batch":
        """Draw clips with replacement."""
        some = films.some(torch.randint(len(films), (count,), generator=generator))
        return Batch(
            some.latents_NFCHW.to(device),
            to_pixels(some.original_NF3HW.to(device)),
            to_pixels(some.true_NF3HW.to(device)),
            some.weight_NF1HW.to(device).float(),
        )


class Healing:
    """Named losses of one healing; it owns no optimizer.

    Args:
        vae: the compressed VAE; only its decoder learns.
        films: what it learns from.
        features: the frozen network that features are compared in.
        settings: weights of the losses and the batch size.
        seed: draws the discriminator.
    """

    def __init__(self, vae: Any, films: Films, features: Features, settings: DecoderSettings, seed: int) -> None:
        self.vae, self.films, self.features, self.settings = vae, films, features, settings
        self.discriminator = _discriminator(seed).to(vae.device) if settings.lambda_adversarial else None
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}

    def losses(self, generator: torch.Generator, step: int) -> Losses:
        """Draw a batch and compute the weighted losses of the decoder.

        Returns:
            Those whose weight is not 0 of "true" and "original" (reconstruction), "perceptual", "temporal" (both
            against the original decoder) and "adversarial".
        """
        wanted = self.settings
        batch = Batch.draw(self.films, wanted.batch_size, generator, self.vae.device)
        with mixed_precision(self.vae.device):
            made = decode(self.vae, batch.latents_BFCHW)
        losses: Losses = {}
        if wanted.lambda_true:
            losses["true"] = wanted.lambda_true * reconstruction_loss(made, batch.true_BF3HW, batch.weight_BF1HW)
        if wanted.lambda_original:
            error = reconstruction_loss(made, batch.original_BF3HW, batch.weight_BF1HW)
            losses["original"] = wanted.lambda_original * error
        if wanted.lambda_perceptual:
            losses["perceptual"] = wanted.lambda_perceptual * self._perceptual(made, batch.original_BF3HW, generator)
        if wanted.lambda_temporal:
            losses["temporal"] = wanted.lambda_temporal * temporal_loss(made, batch.original_BF3HW)
        if self.discriminator is not None:
            losses["adversarial"] = self._adversarial(made, step)
            self._seen[generator.initial_seed()] = batch.original_BF3HW, made.detach()
        return losses

    def _perceptual(self, made_BF3HW: Tensor, right_BF3HW: Tensor, generator: torch.Generator) -> Tensor:
        """On a few frames of each clip: a frame costs as much as it costs to decode it."""
        picked = torch.randperm(made_BF3HW.shape[1], generator=generator)[: self.settings.perceptual_frames]
        made, right = (clip[:, picked.to(clip.device)].flatten(0, 1) for clip in (made_BF3HW, right_BF3HW))
        with mixed_precision(self.vae.device):
            with torch.no_grad():
                right_features = self.features(right)
            return perceptual_loss(self.features(made), right_features, self.features.weights)

    def _adversarial(self, made_BF3HW: Tensor, step: int) -> Tensor:
        """0 until the discriminator has seen enough to be worth listening to."""
        if self.discriminator is None or step < self.settings.adversarial_after * self.settings.steps:
            return torch.zeros((), device=made_BF3HW.device)
        with mixed_precision(self.vae.device):
            logits = self.discriminator(made_BF3HW)
        return self.settings.lambda_adversarial * hinge_generator_loss([logits])

    def discriminator_losses(self, generator: torch.Generator, _: int) -> Losses:
        """The discriminator's hinge loss on what the decoder's step with the same generator left behind."""
        assert self.discriminator is not None  # noqa: S101 - for the type checker; it has no step otherwise
        real, fake = self._seen.pop(generator.initial_seed())
        with mixed_precision(self.vae.device):
            logits = self.discriminator(torch.cat([real, fake.float()]))
        return {"discriminator": hinge_discriminator_loss([logits[: len(real)]], [logits[len(real) :]])}

    def opponent(self) -> Opponent | None:
        """The discriminator as the trainer wants it, if there is one."""
        if self.discriminator is None:
            return None
        return Opponent(self.discriminator, self.settings.discriminator_learning_rate, self.discriminator_losses)


def _discriminator(seed: int) -> PatchDiscriminator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchDiscriminator()


def heal(healing: Healing, folder: Path, *, seed: int, report: Callable[[str], None]) -> float:
    """Train the decoder to the end, resuming what `folder` holds.

    Args:
        healing: the losses.
        folder: for the checkpoint and the log.
        seed: of the data.
        report: receives progress, one line at a time.

    Returns:
        Seconds of training in all.
    """
    settings = healing.settings
    schedule = Schedule(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        ema_decay=settings.ema_decay,
        checkpoint_every=settings.checkpoint_every,
        log_every=max(1, min(50, settings.steps // 10)),
        shards=settings.shards,
        seed=seed,
    )
    decoder = healing.vae.requires_grad_(False).eval().decoder.requires_grad_(True)
    run = Run(folder, decoder, schedule, report=report, opponent=healing.opponent(), alone=True)
    run.train(healing.losses)
    decoder.requires_grad_(False)
    return run.seconds
