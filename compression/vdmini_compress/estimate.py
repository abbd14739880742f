"""What a recipe will take of memory, time and disk, told before anything is downloaded or trained.

Memory of a step is what is kept whole (weights, averages, moments, counted from the configurations) and the peak of one
batch, found by running the training code on the meta device (`vdmini_compress.dry_run`). Not counted: the CUDA context
(about half a gigabyte), kernels' workspaces and what the allocator keeps back. Time is FLOPs over an assumed speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vdmini.families import family_named
from vdmini.families.unet3d import TEXT_TOKENS
from vdmini_compress.dry_run import META, Size, StepCost, peak_of, step_cost
from vdmini_compress.footprint import Arithmetic
from vdmini_compress.recipe import Recipe
from vdmini_compress.sharding import UNITS
from vdmini_compress.teachers.autoencoder import decode

TFLOPS = 120.0
"""Assumed speed of training in TFLOP/s. An H200, whose compute is an H100's, runs full-size U-Nets forward at 160
to 220 in bfloat16 (`benchmarks/results/2026-11-26-full-size-unets.json`); training casts float32 weights besides."""

FLOAT32, FLOAT16 = 4, 2
MOMENTS = {"adamw": 8, "adamw-8bit": 2}
"""Bytes per weight of the optimizer's two moments."""


@dataclass(frozen=True)
class Model:
    """What is known of a teacher and of the student that a recipe makes of it.

    Args:
        family: their family.
        teacher: the teacher's U-Net on the meta device, float32.
        student: the student's, likewise.
        vae: the VAE, likewise.
        encoder_parameters: of the image or text encoder.
        training: size of a training clip's latents.
        decoded: size of what the decoder is healed on, or None.
    """

    family: str
    teacher: Any
    student: Any
    vae: Any
    encoder_parameters: int
    training: Size
    decoded: Size | None


@dataclass(frozen=True)
class Estimate:
    """What a recipe takes.

    Args:
        memory: part -> bytes in each process while the student is healed, as the recipe says; they add up.
        other_peak: "batch at its peak" with gradient checkpointing the other way round.
        decoder_memory: bytes while the decoder is healed, or None.
        checkpointing: whether the recipe asks for gradient checkpointing.
        step_flops: of one optimizer step in each process, all its batches together.
        tflops: assumed speed.
        steps: of the recipe.
        disk: part -> bytes.
    """

    memory: Mapping[str, int]
    other_peak: int
    decoder_memory: int | None
    checkpointing: bool
    step_flops: int
    tflops: float
    steps: int
    disk: Mapping[str, int]

    @property
    def memory_bytes(self) -> int:
        """Of a step, in each process."""
        return sum(self.memory.values())

    @property
    def other_bytes(self) -> int:
        """Of a step with gradient checkpointing the other way round."""
        return self.memory_bytes - self.memory[PEAK] + self.other_peak

    @property
    def disk_bytes(self) -> int:
        """Most at a time, everything kept."""
        return sum(self.disk.values())

    @property
    def seconds_per_step(self) -> float:
        """At the assumed speed."""
        return self.step_flops / (self.tflops * 1e12)

    def as_dict(self) -> dict[str, Any]:
        """As plain data for JSON; bytes, seconds and FLOPs."""
        return {
            "memory": dict(self.memory) | {"total": self.memory_bytes},
            "memory_total_with_checkpointing": self.memory_bytes if self.checkpointing else self.other_bytes,
            "memory_total_without_checkpointing": self.other_bytes if self.checkpointing else self.memory_bytes,
            "decoder_memory": self.decoder_memory,
            "step_flops": self.step_flops,
            "assumed_tflops": self.tflops,
            "seconds_per_step": self.seconds_per_step,
            "steps": self.steps,
            "disk": dict(self.disk) | {"total": self.disk_bytes},
        }


PEAK = "batch at its peak"
"""Activations, gradients as they come, and what is on the way."""


def estimate(
    recipe: Recipe, model: Model, *, tflops: float = TFLOPS, processes: int = 1, arithmetic: Arithmetic = "bfloat16"
) -> Estimate:
    """Work out what a recipe takes.

    Args:
        recipe: what is done.
        model: of what.
        tflops: assumed speed.
        processes: how many train together.
        arithmetic: what the device computes in.
    """
    settings = recipe.distill
    again = settings.gradient_checkpointing
    turned = settings.model_copy(update={"gradient_checkpointing": not again})
    step, other = (
        step_cost(model.family, model.teacher, model.student, model.training, wanted, arithmetic)
        for wanted in (settings, turned)
    )
    return Estimate(
        memory=_kept(recipe, model, step, processes) | {PEAK: step.peak_bytes},
        other_peak=other.peak_bytes,
        decoder_memory=_decoder_memory(model, arithmetic),
        checkpointing=again,
        step_flops=step.flops * settings.shards,
        tflops=tflops,
        steps=settings.steps,
        disk=disk(recipe, model, step.head_parameters),
    )


def _kept(recipe: Recipe, model: Model, step: StepCost, processes: int) -> dict[str, int]:
    """Bytes that stay during a step, in each process."""
    wanted, teacher, student = recipe.distill, _count(model.teacher), _count(model.student)
    slices = processes if wanted.sharding == "full" else 1
    summed = FLOAT32 * student if wanted.shards > 1 or slices > 1 else 0
    return {
        "teacher": FLOAT32 * teacher,
        "discriminator's encoder": FLOAT32 * teacher if wanted.encoder and wanted.lambda_mca else 0,
        "VAE and encoders": FLOAT32 * (_count(model.vae) + model.encoder_parameters),
        "student": FLOAT32 * student // slices + (_largest_unit(model.student) if slices > 1 else 0),
        "average": FLOAT32 * student // slices,
        "moments": MOMENTS[wanted.optimizer] * student // slices,
        "gradients of earlier batches": summed // slices,
        "discriminator": (2 * FLOAT32 + MOMENTS[wanted.optimizer]) * step.head_parameters,
    }


def _largest_unit(student: nn.Module) -> int:
    """Bytes of the block whose weights are whole for a moment where the student is sharded."""
    units = (u for n, m in student.named_modules() if n.rpartition(".")[2] in UNITS for u in m.children())
    return 2 * FLOAT16 * max(_count(unit) for unit in units)


def _decoder_memory(model: Model, arithmetic: Arithmetic) -> int | None:
    """While the decoder is healed both U-Nets wait, and the new decoder is at most what the old one is."""
    size = model.decoded
    if size is None:
        return None
    decoder, vae = model.vae.decoder.requires_grad_(True), model.vae
    latents = torch.empty(1, size.num_frames, size.channels, size.height, size.width, device=META)

    def learn() -> None:
        weights = list(decoder.parameters())
        torch.autograd.grad(decode(vae, latents).float().square().mean(), weights, allow_unused=True)

    waiting = FLOAT32 * (_count(model.teacher) + _count(model.student) + _count(vae) + model.encoder_parameters)
    kept = (2 * FLOAT32 + MOMENTS["adamw"]) * _count(decoder)
    peak = peak_of(learn, arithmetic)
    decoder.requires_grad_(False)
    return waiting + kept + peak


def disk(recipe: Recipe, model: Model, head_parameters: int = 0) -> dict[str, int]:
    """Bytes on the disk by what needs them.

    Args:
        recipe: what is done.
        model: of what.
        head_parameters: of the discriminator.
    """
    student = _count(model.student)
    moments = MOMENTS[recipe.distill.optimizer]
    checkpoint = (2 * FLOAT32 + moments) * student + (FLOAT32 + moments) * head_parameters
    artifact = FLOAT16 * (student + _count(model.vae) + model.encoder_parameters)
    return {
        "latent cache": recipe.data.clips * clip_bytes(model),
        "checkpoints, the old beside the new": 2 * checkpoint if recipe.distill.steps else 0,
        "decoder's films": _film_bytes(recipe, model),
        "artifact": artifact,
    }


def clip_bytes(model: Model) -> int:
    """Bytes of one encoded clip: float16 latents and conditions, float32 text features."""
    size, width = model.training, int(model.teacher.config["cross_attention_dim"])
    cells = size.height * size.width
    latents = FLOAT16 * size.num_frames * size.channels * cells
    if family_named(model.family).task == "i2v":
        return latents + FLOAT16 * (size.channels * cells + width)
    return latents + FLOAT16 * size.num_frames * cells + TEXT_TOKENS * (FLOAT32 * width + 8)


def _film_bytes(recipe: Recipe, model: Model) -> int:
    """Two pictures of three bytes and a weight of one per pixel, and float32 latents, of each window."""
    size, wanted = model.decoded, recipe.decoder
    if size is None or wanted is None:
        return 0
    scale: int = 2 ** (len(model.vae.config["block_out_channels"]) - 1)
    cell = 7 * scale**2 + FLOAT32 * size.channels
    return wanted.clips * size.num_frames * size.height * size.width * cell


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
