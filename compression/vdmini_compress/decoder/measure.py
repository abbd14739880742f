"""Measures a compressed decoder beside the original: decode time, and pixels against true clips and each other.

Legend: N clips, F frames, C channels, H height, W width, 3 colour channels.
"""

import statistics
from datetime import UTC, datetime
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from vdmini.decoder_channels import widths_of
from vdmini.engine import Engine
from vdmini.manifest import Record
from vdmini_compress.decoder.films import Films, to_bytes
from vdmini_compress.decoder.timing import shares, side_by_side, timed_dtype
from vdmini_compress.latency import interval
from vdmini_compress.teachers.autoencoder import decode
from vdmini_compress.world.measure import psnr

Pair = dict[str, float]
"""A number of each decoder: "original" and "vdmini"."""


class Quality(Record):
    """Pixels of some held-out clips."""

    clips: int
    psnr_db: Pair = Field(description="against the true clips")
    change_error: Pair = Field(description="mean absolute error of the change from frame to frame, pixels in 0..1")
    likeness_db: float = Field(description="PSNR of the compressed decoder's pixels against the original's")


class DecoderMeasures(Record):
    """What was measured on a compressed decoder and the original, on one device, in one process."""

    device: str
    dtype: str
    num_frames: int = Field(description="of the chunk that was timed")
    latent_size: tuple[int, int] = Field(description="(width, height) of the latents that were timed")
    runs: int
    seconds: Pair = Field(description="median of decoding one clip")
    share: float = Field(description="median of the paired ratios compressed / original")
    share_interval: tuple[float, float] = Field(description="95 % bootstrap interval of that median")
    parameters: dict[str, int]
    removed_layers: tuple[str, ...]
    widths: dict[str, int] = Field(description="channel space -> channels, all that are left")
    quality: dict[str, Quality] = Field(
        description='"encoded" latents of true clips, "generated" ones of the denoiser, and "all" of them'
    )
    heal_seconds: float
    measured_at: str


def measure(
    engine: Engine, small: Any, held_out: Films, latents_BFCHW: Tensor, *, runs: int, heal_seconds: float
) -> DecoderMeasures:
    """Measure a compressed VAE beside the one in the engine.

    Args:
        engine: the artifact with the original decoder.
        small: the compressed VAE, on the same device, in the same precision.
        held_out: clips that no training saw.
        latents_BFCHW: unscaled latents to time on, on that device.
        runs: timed pairs.
        heal_seconds: what healing took, to note it.
    """
    original = engine.pipeline.vae
    pairs = side_by_side(original, small, latents_BFCHW, runs=runs)
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return DecoderMeasures(
        device=engine.device,
        dtype=str(timed_dtype(engine.torch_device)).removeprefix("torch."),
        num_frames=latents_BFCHW.shape[1],
        latent_size=(latents_BFCHW.shape[-1], latents_BFCHW.shape[-2]),
        runs=runs,
        seconds=_pair(*(round(seconds, 6) for seconds in medians)),
        share=round(statistics.median(shares(pairs)), 4),
        share_interval=interval(shares(pairs), digits=4),
        parameters={name: _parameters(vae) for name, vae in _pair(original, small).items()},
        removed_layers=tuple(small.config.removed_decoder_layers),
        widths=widths_of(small.decoder),
        quality=qualities(small, held_out),
        heal_seconds=round(heal_seconds, 1),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _pair(original: Any, small: Any) -> dict[str, Any]:
    return {"original": original, "vdmini": small}


def _parameters(vae: Any) -> int:
    return sum(parameter.numel() for parameter in vae.decoder.parameters())


@torch.inference_mode()
def qualities(small: Any, held_out: Films) -> dict[str, Quality]:
    """Quality by where latents come from; a kind that no clip is of is left out."""
    parts = [decode(small, clip[None].to(small.device))[0].float().cpu() for clip in held_out.latents_NFCHW]
    made, generated = to_bytes(torch.stack(parts)), held_out.generated_N
    kinds = {"encoded": ~generated, "generated": generated, "all": torch.ones_like(generated)}
    return {kind: _quality(made[some], held_out.some(some)) for kind, some in kinds.items() if some.any()}


def _quality(made_NF3HW: Tensor, films: Films) -> Quality:
    true, original, made = (x.float() / 255 for x in (films.true_NF3HW, films.original_NF3HW, made_NF3HW))
    shown = _pair(original, made)
    return Quality(
        clips=len(made),
        psnr_db={name: round(psnr(clips, true), 3) for name, clips in shown.items()},
        change_error={
            name: round(float((clips.diff(dim=1) - true.diff(dim=1)).abs().mean()), 6) for name, clips in shown.items()
        },
        likeness_db=round(psnr(made, original), 3),
    )
