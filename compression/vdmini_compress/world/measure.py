"""Closed-form measures: where a sprite is, what it looks like, and how far that is from the right answer.

Content and motion are measured apart: a clip may show the right sprite in the wrong place, or the wrong one in the
right place. Legend: B clips, F frames, H height, W width, 3 colour channels, values 0..1, positions in pixels.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vdmini_compress.world.shapes import DIRECTIONS, SHAPES, SIZE, Sprites, masks, palette

SALIENT = 0.2
"""Least change of a colour channel, of 0..1, that counts as sprite."""


@dataclass(frozen=True)
class Track:
    """Where something stands out from its background.

    Args:
        centre_BF2: centroid (x, y); the picture's middle where nothing stands out.
        mask_BFHW: 1 where the clip differs from its background, else 0.
        found_BF: whether anything stands out at all.
    """

    centre_BF2: Tensor
    mask_BFHW: Tensor
    found_BF: Tensor


def track(clip_BF3HW: Tensor, background_B3HW: Tensor) -> Track:
    """Find the sprite of each frame by what differs from the known background."""
    change = (clip_BF3HW - background_B3HW[:, None]).abs().amax(dim=2)
    mask = (change > SALIENT).float()
    weight = mask * change
    total = weight.sum(dim=(-1, -2))
    axis = torch.arange(clip_BF3HW.shape[-1]) + 0.5
    x = (weight.sum(dim=-2) * axis).sum(dim=-1) / total.clamp(min=1e-6)
    y = (weight.sum(dim=-1) * axis).sum(dim=-1) / total.clamp(min=1e-6)
    found = mask.sum(dim=(-1, -2)) >= 8
    middle = clip_BF3HW.shape[-1] / 2
    centre = torch.where(found[..., None], torch.stack([x, y], dim=-1), torch.tensor(middle))
    return Track(centre, mask, found)


def trajectory_error(made: Track, true: Track) -> Tensor:
    """Mean distance [B] in pixels between the two paths; a frame without a sprite counts half a picture."""
    distance = (made.centre_BF2 - true.centre_BF2).norm(dim=-1)
    lost = torch.tensor(made.mask_BFHW.shape[-1] / 2)
    return torch.where(made.found_BF, distance, lost).mean(dim=1)


def appearance_error(made_BF3HW: Tensor, true_BF3HW: Tensor, made: Track, true: Track) -> Tensor:
    """Mean absolute difference [B] of the sprites' pixels after they were laid over each other."""
    moved = _shift(made_BF3HW, made.centre_BF2 - true.centre_BF2)
    mask = true.mask_BFHW[:, :, None]
    return ((moved - true_BF3HW).abs() * mask).sum(dim=(1, 2, 3, 4)) / (3 * mask.sum(dim=(1, 2, 3, 4))).clamp(min=1)


def background_error(made_BF3HW: Tensor, true_BF3HW: Tensor, true: Track) -> Tensor:
    """Mean absolute difference [B] of the pixels that no sprite covers in that frame."""
    grown = F.max_pool2d(true.mask_BFHW, 3, stride=1, padding=1)[:, :, None]
    bare = 1 - grown
    return ((made_BF3HW - true_BF3HW).abs() * bare).sum(dim=(1, 2, 3, 4)) / (3 * bare.sum(dim=(1, 2, 3, 4)))


def _shift(clip_BF3HW: Tensor, offset_BF2: Tensor) -> Tensor:
    """Move each frame's content by minus `offset` pixels, bilinearly."""
    size = clip_BF3HW.shape[-1]
    flat = clip_BF3HW.flatten(0, 1)
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], dim=-1) + (offset_BF2.flatten(0, 1) * 2 / size)[:, None, None]
    moved = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return moved.view_as(clip_BF3HW)


def squared_error(made_BF3HW: Tensor, true_BF3HW: Tensor) -> Tensor:
    """Mean squared difference [B] of the pixels of each clip."""
    return (made_BF3HW - true_BF3HW).square().mean(dim=(1, 2, 3, 4))


def decibels(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of values in 0..1; 100 at most."""
    return -10 * math.log10(max(mean_squared_error, 1e-10))


def psnr(made: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all values together."""
    return decibels(float((made - true).square().mean()))


def colours(made_BF3HW: Tensor, made: Track) -> Tensor:
    """Index into the palette [B] of each clip's sprite: the nearest to its mean colour."""
    core = 1 - F.max_pool2d(1 - made.mask_BFHW, 3, stride=1, padding=1)
    core = torch.where(core.sum(dim=(1, 2, 3), keepdim=True) > 0, core, made.mask_BFHW)[:, :, None]
    mean = (made_BF3HW * core).sum(dim=(1, 3, 4)) / core.sum(dim=(1, 3, 4)).clamp(min=1)
    return torch.cdist(mean, palette()).argmin(dim=1)


def shapes(made: Track, radius: float) -> Tensor:
    """Index into `SHAPES` [B] of each clip's sprite: the outline that overlaps its mask best, over all frames."""
    overlaps = []
    for index in range(len(SHAPES)):
        template = _template(index, radius, made.centre_BF2)
        both = (template * made.mask_BFHW).sum(dim=(1, 2, 3))
        either = template.maximum(made.mask_BFHW).sum(dim=(1, 2, 3)).clamp(min=1)
        overlaps.append(both / either)
    return torch.stack(overlaps, dim=1).argmax(dim=1)


def _template(shape: int, radius: float, centroid_BF2: Tensor) -> Tensor:
    """Masks [B, F, H, W] of a shape whose centroid, not its centre, is where it's asked for."""
    middle = torch.full((1, 1, 2), SIZE / 2)
    drawn = (_draw(shape, radius, middle) > SALIENT).float()
    axis = torch.arange(SIZE) + 0.5
    x = (drawn.sum(dim=-2) * axis).sum() / drawn.sum()
    y = (drawn.sum(dim=-1) * axis).sum() / drawn.sum()
    return (_draw(shape, radius, centroid_BF2 + SIZE / 2 - torch.stack([x, y])) > SALIENT).float()


def _draw(shape: int, radius: float, centre_BF2: Tensor) -> Tensor:
    count = len(centre_BF2)
    filled = torch.full((count,), shape)
    return masks(Sprites(filled, filled, filled, torch.full((count,), radius), centre_BF2))[:, :, 0]


def directions(made: Track) -> Tensor:
    """Index into `DIRECTIONS` [B] of the way from each clip's first to its last position; -1 if it hardly moves."""
    way = made.centre_BF2[:, -1] - made.centre_BF2[:, 0]
    steps = (torch.atan2(way[:, 1], way[:, 0]) / (math.pi / 4)).round().long() % len(DIRECTIONS)
    return torch.where(way.norm(dim=1) < 1, torch.full_like(steps, -1), steps)
