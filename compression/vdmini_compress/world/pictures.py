"""Still pictures: procedural backgrounds, and public-domain photographs that a camera can push into.

Legend: B pictures, H height, W width, 3 colour channels, values 0..1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TRAIN_PHOTOS = (
    "astronaut",
    "coffee",
    "hubble_deep_field",
    "retina",
    "grass",
    "gravel",
    "brick",
    "camera",
    "moon",
    "coins",
)
HELD_OUT_PHOTOS = ("chelsea", "rocket")
"""Never seen in training; all of them are public domain or CC0 pictures that scikit-image ships."""


def procedural(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw smooth, muted pictures that a model can continue behind a moving sprite.

    Args:
        count: number of pictures B.
        size: edge in pixels.
        generator: source of all randomness.

    Returns:
        Pictures [B, 3, H, W], float32 in 0..1: a gradient between two muted colours plus one slow wave.
    """

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = rand(count, 2, 1, 1) * 2 * math.pi
    ramp = (x * angle[:, 0].cos() + y * angle[:, 0].sin()) * 0.35 + 0.5
    wave = torch.sin(
        (x * angle[:, 1].cos() + y * angle[:, 1].sin()) * (2 + 4 * rand(count, 1, 1)) + 6 * rand(count, 1, 1)
    )
    grey = 0.2 + 0.6 * rand(count, 2, 1)
    ends = (grey + 0.24 * (rand(count, 2, 3) - 0.5)).clamp(0, 1)[..., None, None]
    picture = ends[:, 0] * (1 - ramp[:, None]) + ends[:, 1] * ramp[:, None]
    tint = 0.12 * (rand(count, 3, 1, 1) - 0.3)
    return (picture + tint * wave[:, None]).clamp(0, 1)


@dataclass(frozen=True)
class Pyramid:
    """A photograph at scales one square root of two apart, so that crops are sampled without aliasing."""

    levels: tuple[Tensor, ...]

    @staticmethod
    def of(photo_3HW: Tensor, smallest: int) -> "Pyramid":
        """Shrink a photograph step by step while its shorter edge has at least `smallest` pixels."""
        levels = [photo_3HW]
        height, width = photo_3HW.shape[-2:]
        scale = 1 / math.sqrt(2)
        while min(height, width) * scale >= smallest:
            shape = (round(height * scale), round(width * scale))
            levels.append(F.interpolate(photo_3HW[None], shape, mode="bilinear", antialias=True)[0])
            scale /= math.sqrt(2)
        return Pyramid(tuple(levels))


@lru_cache(maxsize=32)
def photo(name: str, smallest: int = 64) -> Pyramid:
    """Load one of scikit-image's pictures.

    Args:
        name: a name of `TRAIN_PHOTOS` or `HELD_OUT_PHOTOS`.
        smallest: edge in pixels of the smallest level kept.

    Returns:
        Its pyramid of float32 RGB levels in 0..1.
    """
    from skimage import data

    pixels = np.asarray(getattr(data, name)())
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    tensor = torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1).float() / 255
    return Pyramid.of(tensor, smallest)
