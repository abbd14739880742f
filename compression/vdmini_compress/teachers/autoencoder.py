"""Trains the small VAEs: the temporal one of the image-to-video teacher, the 2D one of the text-to-video teacher.

Legend: B clips, F frames, H height, W width, 3 colour channels.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdmini.chunks import frames_at_once
from vdmini_compress.precision import mixed_precision
from vdmini_compress.training import Losses

Batch = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""Draws clips [B, F, 3, H, W] in 0..1 and how much each pixel counts, [B, F, 1, H, W]."""

KL_WEIGHT = 2e-5
EDGE_WEIGHT = 1.0


def decode(vae: Any, latents_BFCHW: Tensor) -> Tensor:
    """Pixels [B, F, 3, H, W], about -1..1, of unscaled latents."""
    frames = latents_BFCHW.shape[1]
    extra = {"num_frames": frames} if hasattr(vae.decoder, "time_conv_out") else {}
    pixels: Tensor = vae.decode(latents_BFCHW.flatten(0, 1), **extra).sample
    return pixels.reshape(-1, frames, *pixels.shape[1:])


FRAMES_AT_ONCE = {"cpu": 8, "cuda": 1024}
"""Frames per call of an encoder, by device: more of them spill out of a CPU's cache and take longer each."""


@torch.no_grad()
def latent_modes(vae: Any, frames_N3HW: Tensor) -> Tensor:
    """Modes [N, C, H, W] of the unscaled latents of frames in -1..1, float32 on the CPU."""
    height, width = frames_N3HW.shape[-2:]
    at_once = min(FRAMES_AT_ONCE[vae.device.type], frames_at_once(width, height))
    with mixed_precision(vae.device):
        parts = [vae.encode(part.to(vae.device)).latent_dist.mode() for part in frames_N3HW.split(at_once)]
    return torch.cat(parts).float().cpu()


SENSITIVITY_CLIPS = 4
"""Each costs a decoded clip per channel; two others change a weight by a third at most."""


@torch.no_grad()
def decoder_sensitivity(vae: Any, latents_BFCHW: Tensor, *, nudge: float = 0.1) -> Tensor:
    """How much an error in each latent channel shows in the pixels.

    Channels differ tenfold in it, so a plain error in latent space cares about the wrong things.

    Args:
        vae: either VAE.
        latents_BFCHW: scaled latents; one frame of each of the first `SENSITIVITY_CLIPS` clips is looked at.
        nudge: standard deviation of the noise that is put on one channel at a time.

    Returns:
        float32 [C] with mean 1: the pixels' mean squared change, over its mean.
    """
    generator = torch.Generator().manual_seed(0)
    latents = latents_BFCHW[:SENSITIVITY_CLIPS, :1].to(vae.device, torch.float32) / vae.config.scaling_factor
    clean = decode(vae, latents)
    unit = torch.randn(latents[:, :, 0].shape, generator=generator).to(latents)
    noise = nudge / vae.config.scaling_factor * unit
    changes = []
    for channel in range(latents.shape[2]):
        nudged = latents.clone()
        nudged[:, :, channel] += noise
        changes.append((decode(vae, nudged) - clean).square().mean())
    change = torch.stack(changes)
    return change / change.mean()


def reconstruct(vae: Any, clip_BF3HW: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Encode and decode clips.

    Args:
        vae: `AutoencoderKL` or `AutoencoderKLTemporalDecoder`.
        clip_BF3HW: pixels in -1..1.
        generator: samples the posterior; None takes its mode.

    Returns:
        The reconstruction [B, F, 3, H, W] and the mean KL divergence (a scalar, in nats per latent value).
    """
    posterior = vae.encode(clip_BF3HW.flatten(0, 1)).latent_dist
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    return decode(vae, latents.unflatten(0, (-1, clip_BF3HW.shape[1]))), kl


def _edges(clip: Tensor) -> tuple[Tensor, Tensor]:
    return clip.diff(dim=-1), clip.diff(dim=-2)


def weighted_square(error_BFCHW: Tensor, channel_weight_C: Tensor) -> Tensor:
    """Squared latent errors, averaged over channels by how much each shows in the pixels: [B, F, H, W]."""
    return (error_BFCHW.square() * channel_weight_C.to(error_BFCHW.device)[:, None, None]).mean(dim=2)


SPRITE_WEIGHT = 6.0
"""How much more a pixel counts where a sprite is: sprites cover a tenth of a picture and are what is looked at."""


def pixel_weight(clip_BF3HW: Tensor, background_B3HW: Tensor) -> Tensor:
    """Weights [B, F, 1, H, W] of clips whose first `len(background)` show a sprite over that background."""
    weight = torch.ones_like(clip_BF3HW[:, :, :1])
    count = len(background_B3HW)
    change = (clip_BF3HW[:count] - background_B3HW[:, None]).abs().amax(dim=2, keepdim=True)
    weight[:count] += (SPRITE_WEIGHT - 1) * (change > 0.02)
    return weight


def losses_of(vae: nn.Module, batch: Batch, device: torch.device) -> Callable[[torch.Generator, int], Losses]:
    """Named losses of one step: those of the pixels and the KL divergence of the latents."""

    def losses(generator: torch.Generator, _: int) -> Losses:
        clip, weight = batch(generator)
        clip = clip.to(device) * 2 - 1
        with mixed_precision(device):
            made, kl = reconstruct(vae, clip, generator)
        return pixel_losses(made, clip, weight.to(device)) | {"kl": KL_WEIGHT * kl}

    return losses


def pixel_losses(made_BF3HW: Tensor, clip_BF3HW: Tensor, weight_BF1HW: Tensor) -> Losses:
    """Weighted absolute and squared error of pixels in -1..1, and absolute error of their edges.

    Args:
        made_BF3HW: decoded pixels, any float dtype; the losses reduce in float32.
        clip_BF3HW: the right ones, float32.
        weight_BF1HW: how much each pixel counts, on any scale.

    Returns:
        "absolute", "squared" and "edge", scalars.
    """
    made, weight = made_BF3HW.float(), weight_BF1HW / weight_BF1HW.mean()
    edge = torch.stack([F.l1_loss(a, b) for a, b in zip(_edges(made), _edges(clip_BF3HW), strict=True)]).sum()
    return {
        "absolute": (weight * (made - clip_BF3HW).abs()).mean(),
        "squared": (weight * (made - clip_BF3HW).square()).mean() * 4,
        "edge": EDGE_WEIGHT * edge,
    }
