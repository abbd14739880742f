"""What a job will need of disk and memory, told before it starts; what can't fit is refused.

Activations are counted on the meta device (`vdmini.cost.activation_bytes`); kernels' workspaces are not, so memory is
an estimate. A job is only refused for what is certain: the weights and what the optimizer keeps of them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from vdmini.artifact import weight_bytes
from vdmini.cost import activation_bytes
from vdmini.engine import Engine
from vdmini.plan import PruningPlan
from vdmini.student import empty_student
from vdmini_compress.pruning import latent_size
from vdmini_compress.recipe import Recipe
from vdmini_compress.recompute import recomputed

SPARE_BYTES = 64 * 2**20
"""Room on the disk beyond what is counted: logs, the file system's own needs."""

BYTES_PER_WEIGHT = {"adamw": 20, "adamw-8bit": 14}
"""Of a trained weight: itself, its gradient, the optimizer's two moments and the average; float32 but for the moments
of the 8-bit optimizer."""

GRADIENT_BYTES = 4
CHECKPOINTS = 2
"""At a time: a new one is written before the old one goes. They hold all of that but the gradient."""

WHOLE_BYTES = 4
"""Of a sharded weight besides its slices: a process is whole when it starts, and the first one when it saves."""


class PreflightError(OSError):
    """A job that doesn't fit; the message says what it needs, what there is, and what to change."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a job needs.

    Args:
        disk: for latents, checkpoints and the artifact.
        weights: of memory in each process, for both U-Nets, the gradients and the optimizer.
        activations: of memory in each process, for what all clips of a step keep for the backward pass.
    """

    disk: int
    weights: int
    activations: int

    def __str__(self) -> str:
        return (
            f"needs about {gibibytes(self.disk)} of disk and {gibibytes(self.weights + self.activations)} of memory "
            f"({gibibytes(self.activations)} of it for the clips of a step)"
        )


def gibibytes(count: int) -> str:
    """A number of bytes in words."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def needs(recipe: Recipe, teacher: Engine, plan: PruningPlan, *, processes: int = 1) -> Needs:
    """Count what a job needs; nothing is allocated.

    Args:
        recipe: what is done.
        teacher: its teacher.
        plan: what is removed.
        processes: how many train together.
    """
    unet, size = teacher.pipeline.unet, training_size(recipe, teacher)
    wanted = recipe.distill
    student: Any = empty_student(type(unet), unet.config, plan)
    trained = sum(p.numel() for p in student.parameters())
    slices = processes if wanted.sharding == "full" else 1
    threads = wanted.shards if teacher.torch_device.type == "cpu" and slices == 1 else 1
    with recomputed(student, wanted=wanted.gradient_checkpointing):
        per_clip = activation_bytes(student, **size) if wanted.steps else 0
    latents = size["num_frames"] * size["height"] * size["width"] * teacher.pipeline.vae.config.latent_channels
    return Needs(
        disk=2 * weight_bytes(recipe.teacher)
        + CHECKPOINTS * (BYTES_PER_WEIGHT[wanted.optimizer] - GRADIENT_BYTES) * trained * bool(wanted.steps)
        + recipe.data.clips * 3 * 2 * latents
        + SPARE_BYTES,
        weights=4 * sum(p.numel() for p in unet.parameters()) + trained_bytes(trained, wanted.optimizer, slices),
        activations=per_clip * wanted.batch_size * threads,
    )


def training_size(recipe: Recipe, teacher: Engine) -> dict[str, int]:
    """Frames, height and width of a training clip's latents: the teacher's, or those of the recipe's videos."""
    size, videos, defaults = latent_size(teacher), recipe.data.videos, teacher.manifest.defaults
    if videos is None:
        return size
    scale = defaults.width // size["width"]
    sides = {name: (getattr(videos, name) or getattr(defaults, name)) // scale for name in ("height", "width")}
    return sides | {"num_frames": videos.num_frames or defaults.num_frames}


def trained_bytes(weights: int, optimizer: str, slices: int) -> int:
    """Bytes in each process of so many trained weights, of which it keeps one of `slices` slices."""
    kept = weights * BYTES_PER_WEIGHT[optimizer] // slices
    return kept if slices == 1 else kept + weights * WHOLE_BYTES


def check(wanted: Needs, folder: Path, device: torch.device) -> None:
    """Refuse a job that cannot fit.

    Args:
        wanted: what it needs.
        folder: where it writes; made if it isn't there.
        device: where it trains.

    Raises:
        PreflightError: when the disk or the memory is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < wanted.disk:
        raise PreflightError(
            f"{folder} has {gibibytes(free)} free and the job needs {gibibytes(wanted.disk)}; free some space"
        )
    room = free_memory(device)
    if room < wanted.weights:
        raise PreflightError(
            f"{device} has {gibibytes(room)} of memory free and the weights alone need {gibibytes(wanted.weights)}; "
            "set distill.optimizer to adamw-8bit or distill.sharding to full, or take a larger machine"
        )


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
