"""A last lesson for the small image-to-video teacher, in pixels: its U-Net learns through the frozen decoder.

An error of the latents is the same size whether it moves a corner or a shade, so a U-Net that was trained on latents
alone rounds corners off. Here the clips that it makes are decoded, too, and compared as they are seen. Every clip is
drawn anew, by processes of their own, since a GPU trains faster than one process draws.

Legend: B clips, F frames, H height, W width, 3 colour channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vdmini_compress.image_batch import NOISE_AUG_STRENGTH, ImageBatch
from vdmini_compress.losses import output_loss
from vdmini_compress.precision import mixed_precision
from vdmini_compress.teachers.autoencoder import (
    decode,
    decoder_sensitivity,
    pixel_losses,
    pixel_weight,
)
from vdmini_compress.teachers.image_to_video import SmallImageToVideo, embed, encode_clips
from vdmini_compress.teachers.train import fast_attention, saved_vae
from vdmini_compress.training import Losses, Run, Schedule, generator_for
from vdmini_compress.world import clips

CAMERA_SHARE = 4
"""One clip in so many shows a moving camera."""

DRAWN_APART = 7
"""Distance between the seed of a run and that of its clips, so that no clip shares its random numbers with noise."""


@dataclass(frozen=True)
class Finish:
    """How long and on how much to train.

    Args:
        steps: optimizer steps.
        batch_size: clips per step.
        seen: how many of them are decoded and compared in pixels; decoding takes most of the memory.
        processes: that draw clips; 0 draws them in this one.
        learning_rate: peak learning rate.
        seed: of all randomness.
    """

    steps: int
    batch_size: int = 128
    seen: int = 32
    processes: int = 0
    learning_rate: float = 1.2e-3
    seed: int = 4

    @property
    def shown(self) -> list[int]:
        """Which clips of a step are seen: the first ones, where the sprites are, and the last, of a moving camera."""
        cameras = self.seen // CAMERA_SHARE
        return [*range(self.seen - cameras), *range(self.batch_size - cameras, self.batch_size)]

    def schedule(self) -> Schedule:
        """As the trainer wants it."""
        warmup = min(100, 1 + self.steps // 10)
        return Schedule(steps=self.steps, learning_rate=self.learning_rate, warmup=warmup, seed=self.seed)


def finish_teacher(
    teacher: SmallImageToVideo,
    start: Path,
    finish: Finish,
    folder: Path,
    device: torch.device,
    report: Callable[[str], None],
) -> tuple[Any, Any, dict[str, Any]]:
    """Train the U-Net of an earlier teacher on, and nothing else.

    Args:
        teacher: how it is made.
        start: the earlier teacher's artifact.
        finish: how long.
        folder: checkpoints and log; a run that was killed continues from here.
        device: where to train.
        report: receives progress, one line at a time.

    Returns:
        The VAE, the trained U-Net, and what it took.
    """
    vae = saved_vae(teacher, start, device)
    teacher.prepare(folder, start, report)
    teacher.image_encoder.to(device)
    denoiser = teacher.build_denoiser().to(device)
    teacher.load_denoiser(denoiser, start)
    some = encode_clips(vae, teacher.image_encoder, 32, finish.seed, lambda _: None)
    channel_weight_C = decoder_sensitivity(vae, some["latents_NFCHW"])
    schedule = finish.schedule()
    run = Run(folder / "finish", denoiser, schedule, report=lambda line: report(f"finish: {line}"))
    with fast_attention(device):
        run.train(finishing_losses(denoiser, vae, teacher.image_encoder, channel_weight_C, finish))
    denoiser.eval().requires_grad_(False)
    record = asdict(schedule) | {"batch_size": finish.batch_size, "seen": finish.seen, "seconds": round(run.seconds)}
    return vae, denoiser, {"finish": record}


@dataclass(frozen=True)
class Films:
    """Clips as another process sends them.

    Args:
        frames_BF3HW: uint8; 8-bit pictures are a quarter of the bytes, and what users have.
        weight_SF1HW: of the pixels of those that are seen, float32.
        motion_bucket_id_B: int64.
    """

    frames_BF3HW: Tensor
    weight_SF1HW: Tensor
    motion_bucket_id_B: Tensor


class Clips(Dataset[Films]):
    """Clips by the number of the step that they are for."""

    def __init__(self, finish: Finish) -> None:
        self.finish = finish

    def __getitem__(self, step: int) -> Films:
        """Draw the clips of a step: the same ones in every process."""
        cameras = self.finish.batch_size // CAMERA_SHARE
        generator = generator_for(self.finish.seed + DRAWN_APART, step)
        batch = clips.image_clips(self.finish.batch_size - cameras, cameras, generator)
        weight = pixel_weight(batch.frames_BF3HW, batch.background_B3HW)[self.finish.shown]
        return Films((batch.frames_BF3HW * 255).round().byte(), weight, batch.motion_bucket_id_B)


def finishing_losses(
    denoiser: Any, vae: Any, image_encoder: Any, channel_weight_C: Tensor, finish: Finish
) -> Callable[[torch.Generator, int], Losses]:
    """The losses of one step.

    Args:
        denoiser: the U-Net that learns.
        vae: its VAE; frozen.
        image_encoder: what embeds the first frame; frozen.
        channel_weight_C: how much an error in each latent channel counts, float32, mean 1.
        finish: how much is drawn and seen.

    Returns:
        A function that gives "task", the weighted squared error of the latents, and those of `pixel_losses`, all
        float32 scalars. It must be called for one step after the other.
    """
    drawn: list[Iterator[Films]] = []

    def losses(generator: torch.Generator, step: int) -> Losses:
        if not drawn:
            drawn.append(iter(_loader(finish, step)))
        films = next(drawn[0])
        pixels_BF3HW = films.frames_BF3HW.to(vae.device) / 127.5 - 1
        encoded = _encoded(pixels_BF3HW, vae, image_encoder, generator)
        encoded["motion_bucket_id_N"] = films.motion_bucket_id_B.to(vae.device)
        batch = ImageBatch.draw(encoded, torch.arange(finish.batch_size), generator)
        with mixed_precision(vae.device):
            clean = batch.denoised(batch.run(denoiser))
            made = decode(vae, clean[finish.shown] / vae.config.scaling_factor)
        task = output_loss(clean, batch.target_BFCHW, batch.weight_BFHW, channel_weight_C)
        return {"task": task} | pixel_losses(made, pixels_BF3HW[finish.shown], films.weight_SF1HW.to(vae.device))

    return losses


@torch.no_grad()
def _encoded(pixels_BF3HW: Tensor, vae: Any, image_encoder: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """What `image_to_video.encode` makes of clips in -1..1, in one go and left where they are."""
    first_B3HW = pixels_BF3HW[:, 0]
    noisy = first_B3HW + NOISE_AUG_STRENGTH * torch.randn(first_B3HW.shape, generator=generator).to(first_B3HW)
    with mixed_precision(vae.device):
        modes = vae.encode(torch.cat([pixels_BF3HW.flatten(0, 1), noisy])).latent_dist.mode().float()
    latents, image_latents = modes.split([len(modes) - len(noisy), len(noisy)])
    return {
        "latents_NFCHW": latents.unflatten(0, pixels_BF3HW.shape[:2]) * vae.config.scaling_factor,
        "image_latents_NCHW": image_latents,
        "image_embeds_ND": embed(image_encoder, (first_B3HW + 1) / 2),
    }


def _loader(finish: Finish, first: int) -> DataLoader[Films]:
    return DataLoader(
        Clips(finish),
        batch_size=None,
        sampler=range(first, finish.steps),
        num_workers=finish.processes,
        multiprocessing_context="spawn" if finish.processes else None,
    )
