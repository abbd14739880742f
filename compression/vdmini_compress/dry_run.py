"""One training step of a recipe on the meta device: its peak memory and its FLOPs, without weights or data.

It runs the very code that trains (`Distillation`, `DataParallel`), on tensors that have shapes and no numbers.

Legend: B clips, F frames, C latent channels, H height, W width of the latents, L tokens, D features.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from diffusers import LCMScheduler
from torch import Tensor, nn

from vdmini.families import family_named
from vdmini.families.unet3d import TEXT_TOKENS
from vdmini_compress.data import Batch, Cache, Report
from vdmini_compress.discriminator import Discriminator, View
from vdmini_compress.distill import Distillation
from vdmini_compress.footprint import Arithmetic, Footprint, Precision
from vdmini_compress.image_batch import ImageBatch
from vdmini_compress.recipe import Distill
from vdmini_compress.recompute import recomputed
from vdmini_compress.sharding import Alone, DataParallel
from vdmini_compress.text_batch import NoiseSchedule, TextBatch

META = torch.device("meta")


@dataclass(frozen=True)
class Size:
    """A training clip's latents: frames, channels, height and width."""

    num_frames: int
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class StepCost:
    """What one batch of a step takes.

    Args:
        peak_bytes: most memory at a time beyond weights, moments and averages: activations, gradients as they come,
            and what is on the way; see `vdmini_compress.footprint.Footprint` for what isn't counted.
        flops: of student, teacher and discriminator, forward, again where recomputed, and backward; 2 per multiply-add.
        head_parameters: of the discriminator.
    """

    peak_bytes: int
    flops: int
    head_parameters: int


def step_cost(
    family: str, teacher: Any, student: Any, size: Size, settings: Distill, arithmetic: Arithmetic = "bfloat16"
) -> StepCost:
    """Run one batch of a step on the meta device.

    Args:
        family: of both U-Nets.
        teacher: on the meta device, float32.
        student: likewise.
        size: of a clip.
        settings: losses, batch size and checkpointing; the batch's `shards` come one after the other and are not
            multiplied in.
        arithmetic: what the device computes in.

    Raises:
        TypeError: when the losses don't fit the family.
    """
    named = family_named(family)
    pipeline = SimpleNamespace(unet=teacher, device=META)
    encoder = deepcopy(teacher) if settings.encoder else teacher
    student.requires_grad_(True).eval()
    teacher.eval()
    world, weight = _MetaWorld(named.task, size), torch.ones(size.channels)
    made = _DryDistillation(named, pipeline, student, world, {}, weight, settings, encoder=encoder)
    again: dict[str, Any] = {"wanted": settings.gradient_checkpointing, "under": lambda: Precision(arithmetic)}
    with recomputed(student, **again), recomputed(encoder, **again):
        peak, flops = _run(made, student, arithmetic)
    heads = made.discriminator
    return StepCost(peak, flops, sum(p.numel() for p in heads.parameters()) if heads else 0)


def _run(made: Distillation, student: nn.Module, arithmetic: Arithmetic) -> tuple[int, int]:
    draw, footprint = torch.Generator().manual_seed(0), Footprint()
    with footprint, Precision(arithmetic):
        DataParallel(student, Alone()).differentiate([lambda: made.losses(draw, 0)])
        opponent = made.opponent()
        if opponent:
            DataParallel(opponent.model, Alone()).differentiate([lambda: opponent.losses_of(draw, 0)])
    for parameter in student.parameters():
        parameter.grad = None
    return footprint.peak, footprint.flops


def peak_of(compute: Callable[[], Any], arithmetic: Arithmetic) -> int:
    """Most bytes that anything computed on the meta device takes at a time."""
    footprint = Footprint()
    with footprint, Precision(arithmetic):
        compute()
    return footprint.peak


class _DryDistillation(Distillation):
    """A distillation whose discriminator's units are not fitted: the meta device has no numbers."""

    def _discriminator(self) -> tuple[Discriminator, View]:
        batch = self.world.draw(self.pipeline, self.cache, self.settings, torch.Generator())
        units = (1.0,) * (1 + len(self.encoder.down_blocks))  # type: ignore[arg-type]
        with META:
            heads = Discriminator.of(self.encoder, batch.condition_BD.shape[1])
        return heads, View(self.encoder, units)


class _MetaWorld:
    """Batches without numbers; see `vdmini_compress.data.World`."""

    def __init__(self, task: Literal["i2v", "t2v"], size: Size) -> None:
        self.task, self.size = task, size

    def encode(self, pipeline: Any, count: int, seed: int, report: Report) -> Cache:  # noqa: ARG002
        """Nothing."""
        return {}

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """One batch."""
        build = _image_batch if self.task == "i2v" else _text_batch
        return build(pipeline.unet.config, settings.batch_size, self.size)


def _clips(count: int, size: Size) -> Tensor:
    return torch.empty(count, size.num_frames, size.channels, size.height, size.width, device=META)


def _image_batch(config: Any, count: int, size: Size) -> ImageBatch:
    clip_BFCHW = _clips(count, size)
    embeds = torch.empty(count, config["cross_attention_dim"], device=META)
    times = torch.empty(count, 3, device=META)
    return ImageBatch(clip_BFCHW, clip_BFCHW, times[:, 0], clip_BFCHW[:, 0], embeds, times)


def _text_batch(config: Any, count: int, size: Size) -> TextBatch:
    clip_BFCHW = _clips(count, size)
    return TextBatch(
        NoiseSchedule.of(LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")),
        clip_BFCHW,
        clip_BFCHW[:, :, 0],
        clip_BFCHW,
        clip_BFCHW,
        torch.empty(count, dtype=torch.int64, device=META),
        torch.empty(count, (config["time_cond_proj_dim"] or 0) + 1, device=META),
        torch.empty(count, TEXT_TOKENS, dtype=torch.int64, device=META),
        torch.empty(count, TEXT_TOKENS, config["cross_attention_dim"], device=META),
    )
