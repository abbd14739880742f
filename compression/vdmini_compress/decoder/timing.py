"""Decode times of two VAEs side by side: same process, same precision, warm, in turn.

Legend: B clips, F frames, C channels, H height, W width.
"""

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from vdmini.engine import pick_dtype
from vdmini_compress.teachers.autoencoder import decode

WARM_UP = 2


@torch.inference_mode()
def decode_seconds(vae: Any, latents_BFCHW: Tensor) -> float:
    """Wall time of decoding clips once, the device's work included, in the precision that is served there."""
    served = timed_dtype(vae.device)
    _finish(vae.device)
    start = time.perf_counter()
    with torch.autocast(vae.device.type, served, enabled=served is not torch.float32):
        decode(vae, latents_BFCHW)
    _finish(vae.device)
    return time.perf_counter() - start


def timed_dtype(device: torch.device) -> torch.dtype:
    """What an engine takes on a device when it isn't told otherwise."""
    return pick_dtype(None, device)


def side_by_side(original: Any, small: Any, latents_BFCHW: Tensor, *, runs: int) -> list[tuple[float, float]]:
    """Time two VAEs on the same latents, in turn, in an order that changes with every pair.

    Args:
        original: the uncompressed VAE.
        small: the compressed one, on the same device, in the same precision.
        latents_BFCHW: unscaled latents on that device.
        runs: timed pairs.

    Returns:
        Seconds of the original and of the small one, `runs` times.
    """
    for vae in (original, small) * WARM_UP:
        decode_seconds(vae, latents_BFCHW)
    pairs = []
    for run in range(runs):
        if run % 2:
            small_seconds, original_seconds = (decode_seconds(vae, latents_BFCHW) for vae in (small, original))
        else:
            original_seconds, small_seconds = (decode_seconds(vae, latents_BFCHW) for vae in (original, small))
        pairs.append((original_seconds, small_seconds))
    return pairs


def shares(pairs: list[tuple[float, float]]) -> list[float]:
    """The small one's time over the original's, of each pair."""
    return [small / original for original, small in pairs]


def share(original: Any, small: Any, latents_BFCHW: Tensor, *, runs: int) -> float:
    """Median of `shares`."""
    return statistics.median(shares(side_by_side(original, small, latents_BFCHW, runs=runs)))


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
