"""Sprites: what they look like, where they are. Everything is drawn from signed distances, so edges are anti-aliased.

Legend: B clips, F frames, H height, W width, 3 colour channels. Positions are pixels, x to the right, y down.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIZE = 64
"""Edge of a picture of the small world, in pixels."""

NUM_FRAMES = 8
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.92, 0.12, 0.12),
    "green": (0.10, 0.78, 0.18),
    "blue": (0.12, 0.25, 0.95),
    "yellow": (0.98, 0.88, 0.10),
    "magenta": (0.90, 0.15, 0.85),
    "cyan": (0.10, 0.85, 0.90),
}
DIRECTIONS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
"""Compass headings in steps of 45 degrees, clockwise from the positive x axis (y points down)."""


@dataclass(frozen=True)
class Sprites:
    """A batch of sprites.

    Args:
        shape_B: index into `SHAPES`, int64.
        colour_B: index into `COLOURS`, int64.
        heading_B: index into `DIRECTIONS`, int64.
        radius_B: half the sprite's extent in pixels, float32.
        centre_BF2: centre (x, y) in pixels in each frame, float32.
    """

    shape_B: Tensor
    colour_B: Tensor
    heading_B: Tensor
    radius_B: Tensor
    centre_BF2: Tensor


def unit_vectors(heading_B: Tensor) -> Tensor:
    """Unit vectors [B, 2] (x, y) of heading indices."""
    angle = heading_B.float() * (math.pi / 4)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def palette() -> Tensor:
    """The sprite colours as a float32 tensor [colours, 3] in 0..1."""
    return torch.tensor(list(COLOURS.values()))


def _distances(dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """Signed distances [shapes, ...] in pixels to the outline of every shape, negative inside."""
    circle = torch.hypot(dx, dy) - radius
    half = radius * 0.88
    square = torch.maximum(dx.abs(), dy.abs()) - half
    slope = math.sqrt(0.8)
    triangle = torch.maximum((dx.abs() * 2 - (dy + radius)) / 2 * slope, dy - radius * 0.8)
    arm = radius * 0.36
    cross = torch.minimum(
        torch.maximum(dx.abs() - radius, dy.abs() - arm), torch.maximum(dy.abs() - radius, dx.abs() - arm)
    )
    return torch.stack([circle, square, triangle, cross])


def _coverage(distance: Tensor) -> Tensor:
    """Coverage 0..1: edges are two pixels wide, as through a real lens."""
    return (0.5 - distance / 2).clamp(0, 1)


def masks(sprites: Sprites, size: int = SIZE) -> Tensor:
    """Coverage [B, F, 1, H, W] in 0..1 of each sprite's pixels."""
    dx, dy = _offsets(sprites.centre_BF2, size)
    distances = _distances(dx, dy, sprites.radius_B[:, None, None, None])
    index = sprites.shape_B.view(1, -1, 1, 1, 1).expand(1, *dx.shape)
    return _coverage(distances.gather(0, index)[0])[:, :, None]


def _offsets(centre_BF2: Tensor, size: int) -> tuple[Tensor, Tensor]:
    axis = torch.arange(size, dtype=torch.float32) + 0.5
    dx = axis[None, None, None, :] - centre_BF2[..., 0, None, None]
    dy = axis[None, None, :, None] - centre_BF2[..., 1, None, None]
    wide: tuple[Tensor, Tensor] = torch.broadcast_tensors(dx, dy)
    return wide


def paint(background_BF3HW: Tensor, sprites: Sprites, *, eye: bool) -> Tensor:
    """Paint sprites over a background.

    Args:
        background_BF3HW: float32 in 0..1; F may be 1.
        sprites: what to paint.
        eye: whether a white eye near the leading edge shows the heading.

    Returns:
        The clips [B, F, 3, H, W], float32 in 0..1.
    """
    size = background_BF3HW.shape[-1]
    mask = masks(sprites, size)
    colour = palette()[sprites.colour_B][:, None, :, None, None]
    clip = background_BF3HW * (1 - mask) + colour * mask
    if not eye:
        return clip
    ahead = unit_vectors(sprites.heading_B) * (sprites.radius_B * 0.45)[:, None]
    dx, dy = _offsets(sprites.centre_BF2 + ahead[:, None], size)
    white = _coverage(torch.hypot(dx, dy) - 3.2)[:, :, None]
    return clip * (1 - white) + white
