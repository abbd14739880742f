"""Trains a small teacher from nothing: its VAE, the latents of its world, its denoiser; every part resumes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vdmini_compress.teachers import autoencoder
from vdmini_compress.training import Losses, Run, Schedule

Report = Callable[[str], None]


class Teacher(Protocol):
    """What training needs to know of a small teacher."""

    name: str
    vae_schedule: Schedule
    eye_schedule: Schedule | None
    decoder_schedule: Schedule | None
    denoiser_schedule: Schedule

    def prepare(self, folder: Path, start: Path | None, report: Report) -> None:
        """Make or load what clips are encoded with besides the VAE."""
        ...

    def build_vae(self) -> Any:
        """A fresh VAE."""
        ...

    def vae_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clips and pixel weights, see `vdmini_compress.teachers.autoencoder.Batch`."""
        ...

    def build_denoiser(self) -> nn.Module:
        """Everything that is trained on latents."""
        ...

    def load_denoiser(self, denoiser: Any, folder: Path) -> None:
        """Give a denoiser the weights of a saved pipeline."""
        ...

    def encode_world(self, vae: Any, seed: int, report: Report) -> dict[str, Tensor]:
        """The latent cache: training clips and their conditions."""
        ...

    def denoiser_losses(
        self, denoiser: Any, cache: dict[str, Tensor], device: torch.device
    ) -> Callable[[torch.Generator, int], Losses]:
        """The named losses of one training step."""
        ...

    def decoder_losses(self, vae: Any, denoiser: Any, device: torch.device) -> Callable[[torch.Generator, int], Losses]:
        """The named losses of one step of the decoder's own training, after the denoiser's."""
        ...

    def save_pipeline(self, vae: Any, denoiser: Any, folder: Path) -> None:
        """Write the diffusers folder, float16."""
        ...


@dataclass(frozen=True)
class Start:
    """Where a training starts from.

    Args:
        folder: an earlier training's artifact; its VAE is kept.
        keep_denoiser: whether its denoiser is trained on, too, or a fresh one.
    """

    folder: Path
    keep_denoiser: bool = True


@contextmanager
def fast_attention(device: torch.device) -> Iterator[None]:
    """On a CPU the plain kernel trains half as fast again as the flash one on the small world's short sequences."""
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
        yield


def train_vae(teacher: Teacher, folder: Path, device: torch.device, report: Report) -> Any:
    """Train the VAE, or take it from `folder` when that was done before.

    Returns:
        The VAE in evaluation mode, with its scaling factor set so that latents have unit variance.
    """
    torch.manual_seed(teacher.vae_schedule.seed)
    vae = teacher.build_vae().to(device)
    run = Run(folder / "vae", vae, teacher.vae_schedule, report=lambda line: report(f"vae: {line}"))
    run.train(autoencoder.losses_of(vae, teacher.vae_batch, device))
    vae.eval().requires_grad_(False)
    deviation = _latent_deviation(vae, teacher)
    vae.register_to_config(scaling_factor=round(1 / deviation, 4))
    return vae


def saved_vae(teacher: Teacher, artifact: Path, device: torch.device) -> Any:
    """An artifact's VAE in evaluation mode, float32."""
    vae = type(teacher.build_vae()).from_pretrained(artifact / "vae", torch_dtype=torch.float32).to(device)
    return vae.eval().requires_grad_(False)


def _latent_deviation(vae: Any, teacher: Teacher) -> float:
    generator = torch.Generator().manual_seed(12345)
    frames = torch.cat([teacher.vae_batch(generator)[0].flatten(0, 1) for _ in range(16)]) * 2 - 1
    return float(autoencoder.latent_modes(vae, frames).std())


def latent_cache(teacher: Teacher, vae: Any, folder: Path, report: Report) -> dict[str, Tensor]:
    """The world's latents, encoded once and kept as safetensors in `folder`."""
    path = folder / "latents.safetensors"
    if not path.exists():
        cache = teacher.encode_world(vae, teacher.denoiser_schedule.seed, report)
        partial = path.with_suffix(".partial")
        save_file({name: tensor.contiguous() for name, tensor in cache.items()}, partial)
        os.replace(partial, path)
    encoded: dict[str, Tensor] = load_file(path)
    return encoded


def train_teacher(
    teacher: Teacher, folder: Path, device: torch.device, report: Report, start: Start | None = None
) -> tuple[Any, Any]:
    """Train a teacher to the end of its schedules.

    Args:
        teacher: which one.
        folder: checkpoints, logs and the latent cache; a run that was killed continues from here.
        device: where to train.
        report: receives progress, one line at a time.
        start: an earlier training to build on.

    Returns:
        The VAE and the trained denoiser.
    """
    vae = train_vae(teacher, folder, device, report) if start is None else saved_vae(teacher, start.folder, device)
    teacher.prepare(folder, start.folder if start else None, report)
    cache = latent_cache(teacher, vae, folder, report)
    cache["channel_weight_C"] = autoencoder.decoder_sensitivity(vae, cache["latents_NFCHW"]).cpu()
    torch.manual_seed(teacher.denoiser_schedule.seed)
    denoiser = teacher.build_denoiser().to(device)
    if start is not None and start.keep_denoiser:
        teacher.load_denoiser(denoiser, start.folder)
    run = Run(folder / "denoiser", denoiser, teacher.denoiser_schedule, report=lambda line: report(f"denoiser: {line}"))
    with fast_attention(device):
        run.train(teacher.denoiser_losses(denoiser, cache, device))
        denoiser.eval().requires_grad_(False)
        train_decoder(teacher, vae, denoiser, folder, device, report)
    return vae, denoiser


def train_decoder(
    teacher: Teacher, vae: Any, denoiser: Any, folder: Path, device: torch.device, report: Report
) -> None:
    """Train the decoder on, on whole clips: a temporal decoder that only saw short ones pales in their middle.

    The encoder stays as it is, so latents keep their meaning and this may follow the denoiser's training.
    """
    if teacher.decoder_schedule is None:
        return
    vae.decoder.requires_grad_(True)
    run = Run(folder / "decoder", vae.decoder, teacher.decoder_schedule, report=lambda line: report(f"decoder: {line}"))
    run.train(teacher.decoder_losses(vae, denoiser, device))
    vae.decoder.requires_grad_(False)


def training_record(teacher: Teacher, folder: Path) -> dict[str, Any]:
    """What it took: schedules and seconds of each part that was trained."""
    schedules = {
        "vae": teacher.vae_schedule,
        "eye": teacher.eye_schedule,
        "denoiser": teacher.denoiser_schedule,
        "decoder": teacher.decoder_schedule,
    }
    record = {}
    for part, schedule in schedules.items():
        checkpoint = folder / part / "checkpoint.pt"
        if schedule is not None and checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True, mmap=True)
            record[part] = asdict(schedule) | {"seconds": round(state["seconds"])}
    return record
