"""How far a served clip is from the teacher's of the same input and seed.

Legend: F frames, H height, W width, 3 colour channels.
"""

import math

import numpy as np
from numpy.typing import NDArray

MOST_DB = 60.0
"""PSNR of clips that are nearly or wholly equal: an infinity would spoil every mean."""

SIDE = 256
"""Frames are reduced to about this side first: a second of clip takes tens of milliseconds at any size."""

LEAST_MOTION = 0.05
"""Mean step of the teacher's clip, in levels of 0..255, below which a ratio says nothing."""


def drift(served_FHW3: NDArray[np.uint8], teacher_FHW3: NDArray[np.uint8]) -> dict[str, float]:
    """Compare two clips of one shape.

    Returns:
        psnr in dB, at most `MOST_DB`; ssim of the grey frames (Wang et al. 2004), the mean over frames; motion, mean
        absolute difference of successive frames over the teacher's, left out when that one hardly moves.
    """
    from skimage.metrics import structural_similarity  # the parent process needs none of scipy

    served_FHW, teacher_FHW = _grey(served_FHW3), _grey(teacher_FHW3)
    error = float(np.mean((served_FHW - teacher_FHW) ** 2))
    pairs = zip(served_FHW, teacher_FHW, strict=True)
    found = {
        "psnr": min(MOST_DB, -10 * math.log10(error / 255**2)) if error > 0 else MOST_DB,
        "ssim": float(np.mean([structural_similarity(a, b, data_range=255) for a, b in pairs])),
    }
    moves, should_move = _motion(served_FHW), _motion(teacher_FHW)
    return found | ({"motion": moves / should_move} if should_move >= LEAST_MOTION else {})


def _grey(frames_FHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Luma (ITU-R BT.601) in 0..255, each pixel the mean of a square."""
    count, height, width, _ = frames_FHW3.shape
    edge = max(1, min(height, width) // SIDE)
    kept_FHW3 = frames_FHW3[:, : height // edge * edge, : width // edge * edge]
    grey_FHW = kept_FHW3.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    squares = grey_FHW.reshape(count, height // edge, edge, width // edge, edge)
    means_FHW: NDArray[np.float32] = squares.mean(axis=(2, 4))
    return means_FHW


def _motion(frames_FHW: NDArray[np.float32]) -> float:
    return float(np.abs(np.diff(frames_FHW, axis=0)).mean()) if len(frames_FHW) > 1 else 0.0
