"""A batch of a text-to-video model: noisy latents with their conditions and the right answer.

Legend: B clips, F frames, C latent channels, H height, W width of the latents, L tokens, D features, N timesteps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from vdmini.unet3d_fps import MOTION_GS, MOTION_PERCENTAGE, motion_condition
from vdmini_compress.noise import draw_levels, log_normal_shares

GUIDANCE_RANGE = (5.0, 15.0)
"""What the guidance weight w is drawn from (arXiv 2410.05677)."""

PREDICTIONS = ("epsilon", "sample", "v_prediction")

Condition = Callable[[Tensor, Tensor], Tensor | None]
"""Makes a U-Net's `timestep_cond` of guidance weights [B] and fps [B]; see `vdmini.families.base.TextFamily`."""


def draw_timesteps(timesteps_N: Tensor, count: int, generator: torch.Generator, *, from_noise_share: float) -> Tensor:
    """Timesteps [count], int64: `from_noise_share` of them the highest, the others any of `timesteps_N`."""
    picked = timesteps_N[torch.randint(len(timesteps_N), (count,), generator=generator)]
    from_noise = torch.rand(count, generator=generator) < from_noise_share
    return torch.where(from_noise, timesteps_N.max(), picked)


@dataclass(frozen=True)
class NoiseSchedule:
    """A scheduler's noise levels and what its U-Net predicts.

    Args:
        alphas_cumprod_N: squared signal level of each timestep, float32.
        prediction_type: one of `PREDICTIONS`.
        shares_N: how often a discriminator's input is noised to each timestep, float64.
    """

    alphas_cumprod_N: Tensor
    prediction_type: str
    shares_N: Tensor

    @staticmethod
    def of(scheduler: Any) -> "NoiseSchedule":
        """The schedule of a diffusers scheduler that has one of `alphas_cumprod`, such as DDIM's, LCM's or DPM++'s.

        Raises:
            ValueError: when its prediction type is none of `PREDICTIONS`.
        """
        kind = scheduler.config.prediction_type
        if kind not in PREDICTIONS:
            raise ValueError(f"the scheduler predicts {kind!r}; known are {', '.join(PREDICTIONS)}")
        alphas = scheduler.alphas_cumprod.float()
        return NoiseSchedule(alphas, kind, log_normal_shares(((1 - alphas) / alphas).sqrt()))

    def levels(self, timestep_B: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise levels [B, 1, 1, 1, 1] at timesteps: their squares add up to 1."""
        alpha = self.alphas_cumprod_N.to(timestep_B.device)[timestep_B][:, None, None, None, None]
        return alpha.sqrt(), (1 - alpha).sqrt()

    def noised(self, clean_BFCHW: Tensor, noise_BFCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Clean latents noised to timesteps."""
        signal, sigma = self.levels(timestep_B)
        return signal * clean_BFCHW + sigma * noise_BFCHW

    def clean(self, model_output: Tensor, noisy_BFCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """The clean latents that a U-Net's output means, float32.

        A noise prediction says nothing of them where no signal is left; there the signal counts as 1e-4.
        """
        made, (signal, sigma) = model_output.float(), self.levels(timestep_B)
        if self.prediction_type == "sample":
            return made
        if self.prediction_type == "v_prediction":
            return signal * noisy_BFCHW - sigma * made
        return (noisy_BFCHW - sigma * made) / signal.clamp(min=1e-4)

    def prediction(self, clean_BFCHW: Tensor, noise_BFCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """What a U-Net that knew everything would put out; velocity is that of arXiv 2202.00512."""
        signal, sigma = self.levels(timestep_B)
        if self.prediction_type == "sample":
            return clean_BFCHW
        if self.prediction_type == "v_prediction":
            return signal * noise_BFCHW - sigma * clean_BFCHW
        return noise_BFCHW


@dataclass(frozen=True)
class TextBatch:
    """Noisy latents with the conditions of a text-to-video model.

    Args:
        schedule: of the scheduler.
        target_BFCHW: scaled clean latents, float32.
        weight_BFHW: how much an error counts at each place.
        noise_BFCHW: the noise.
        noisy_BFCHW: the clean latents noised to `timestep_B`.
        timestep_B: int64.
        condition: the U-Net's `timestep_cond`, its last column the fps, or None where it takes none.
        tokens_BL: token ids of the captions.
        features_BLD: what the text encoder makes of them, or None where it is trained along.
        consistency: whether the model is a consistency model; see `vdmini.families.base.Lesson`.
    """

    schedule: NoiseSchedule
    target_BFCHW: Tensor
    weight_BFHW: Tensor
    noise_BFCHW: Tensor
    noisy_BFCHW: Tensor
    timestep_B: Tensor
    condition: Tensor | None
    tokens_BL: Tensor
    features_BLD: Tensor | None = None
    consistency: bool = True

    @staticmethod
    def draw(
        schedule: NoiseSchedule,
        cache: dict[str, Tensor],
        index: Tensor,
        timestep_B: Tensor,
        condition: Condition,
        generator: torch.Generator,
        *,
        consistency: bool = True,
    ) -> "TextBatch":
        """Noise the clips `index` of the cache to timesteps; the guidance weight is drawn from `GUIDANCE_RANGE`.

        Args:
            schedule: of the scheduler.
            cache: encoded clips.
            index: which clips, int64 [B].
            timestep_B: int64.
            condition: of the model's family.
            generator: source of all randomness.
            consistency: see the class.
        """
        target = cache["latents_NFCHW"][index].float()
        noise = torch.randn(target.shape, generator=generator)
        low, high = GUIDANCE_RANGE
        guidance = low + (high - low) * torch.rand(len(index), generator=generator)
        return TextBatch(
            schedule,
            target,
            cache["weight_NFHW"][index].float(),
            noise,
            schedule.noised(target, noise, timestep_B),
            timestep_B,
            condition(guidance, cache["fps_N"][index]),
            cache["tokens_NL"][index],
            cache["features_NLD"][index] if "features_NLD" in cache else None,
            consistency,
        )

    @property
    def condition_BD(self) -> Tensor:
        """What a discriminator is told besides the noise level: the mean text feature, and guidance and fps if any."""
        if self.features_BLD is None:
            raise ValueError("a discriminator needs the captions' features; encode them first")
        text = self.features_BLD.float().mean(dim=1)
        if self.condition is None:
            return text
        return torch.cat([text, self.condition[:, :-1], self.condition[:, -1:] / 30], dim=1)

    @property
    def log_sigma_B(self) -> Tensor:
        """Natural logarithm of noise over signal; 9.2 (a signal of 1e-4) where no signal is left."""
        signal, sigma = self.schedule.levels(self.timestep_B)
        return (sigma / signal.clamp(min=1e-4)).log().flatten()

    def to(self, device: torch.device) -> "TextBatch":
        """The same batch on a device."""
        values: Any = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: Any = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in values.items()}
        return TextBatch(**moved)

    def run(self, unet: Any, text: Tensor | None = None) -> Tensor:
        """The U-Net's prediction [B, F, C, H, W], on the given text features or else the cached ones."""
        text = self.features_BLD if text is None else text
        noisy = self.noisy_BFCHW.transpose(1, 2)
        told = self.condition
        if told is not None and unet.config.get(
            "motion_cond", False
        ):  # it learns under the motion guidance that it is sampled with
            noisiest = len(self.schedule.alphas_cumprod_N) * (1 - MOTION_PERCENTAGE)
            told = torch.cat([told, motion_condition(self.timestep_B, MOTION_GS, noisiest)], dim=1)
        made: Tensor = unet(noisy, self.timestep_B, text, timestep_cond=told).sample.transpose(1, 2)
        return made

    def denoised(self, model_output: Tensor) -> Tensor:
        """The clean latents that an output means, float32."""
        return self.schedule.clean(model_output, self.noisy_BFCHW, self.timestep_B)

    def compared(self, model_output: Tensor, clean: Tensor) -> Tensor:
        """A consistency model's clean latents, a diffusion model's own output, float32."""
        return clean if self.consistency else model_output.float()

    @property
    def right_BFCHW(self) -> Tensor:
        """What `compared` should be, of the batch as it was drawn."""
        if self.consistency:
            return self.target_BFCHW
        return self.schedule.prediction(self.target_BFCHW, self.noise_BFCHW, self.timestep_B)

    def without_captions(self, dropped_B: Tensor, blank_1LD: Tensor) -> "TextBatch":
        """The same clips, some of them without their caption.

        Args:
            dropped_B: which ones, bool.
            blank_1LD: features of the empty caption.
        """
        if self.features_BLD is None:
            raise ValueError("captions are dropped as features; encode them first")
        features = torch.where(dropped_B[:, None, None], blank_1LD.to(self.features_BLD), self.features_BLD)
        return replace(self, features_BLD=features)

    def at(self, noisy_BFCHW: Tensor, timestep_B: Tensor) -> "TextBatch":
        """Other noisy latents at other timesteps under the same conditions."""
        return replace(self, noisy_BFCHW=noisy_BFCHW, timestep_B=timestep_B)

    def renoised(self, clips: Sequence[Tensor], generator: torch.Generator) -> "list[TextBatch]":
        """Clips as a discriminator sees them: all noised alike, to levels drawn as SF-V draws them.

        Args:
            clips: scaled clean latents [B, F, C, H, W], such as the teacher's and the student's.
            generator: source of the levels and of the noise.

        Returns:
            A batch per entry of `clips`, under the same conditions.
        """
        device = self.timestep_B.device
        timestep = draw_levels(self.schedule.shares_N, len(self.timestep_B), generator).to(device)
        noise = torch.randn(self.target_BFCHW.shape, generator=generator).to(device)
        return [self.at(self.schedule.noised(clip, noise, timestep), timestep) for clip in clips]
