"""The camera that pushes straight into a picture, at a speed given by `motion_bucket_id`.

Legend: B clips, F frames, H height, W width, 3 colour channels, values 0..1.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vdmini_compress.world.pictures import Pyramid, photo, procedural

MAX_ZOOM_PER_FRAME = 0.04
"""How much nearer the camera gets in one frame at `motion_bucket_id` 255."""


def zoom(motion_bucket_id_B: Tensor, num_frames: int) -> Tensor:
    """Magnification [B, F] of each frame relative to the first."""
    rate = 1 + MAX_ZOOM_PER_FRAME * motion_bucket_id_B.float() / 255
    return rate[:, None] ** torch.arange(num_frames)


def push_in(picture_3HW: Tensor, centre: tuple[float, float], half: float, zoom_F: Tensor, size: int) -> Tensor:
    """Film one picture.

    Args:
        picture_3HW: float32 in 0..1.
        centre: (x, y) of the optical axis in the picture's pixels.
        half: half the edge of the first frame's field of view, in the picture's pixels.
        zoom_F: magnification of each frame.
        size: edge of the frames in pixels.

    Returns:
        Frames [F, 3, size, size], float32.
    """
    height, width = picture_3HW.shape[-2:]
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    x = (centre[0] + half * axis[None] / zoom_F[:, None]) / width * 2 - 1
    y = (centre[1] + half * axis[None] / zoom_F[:, None]) / height * 2 - 1
    frames = zoom_F.shape[0]
    grid = torch.stack([x[:, None].expand(frames, size, size), y[:, :, None].expand(frames, size, size)], dim=-1)
    source = picture_3HW[None].expand(frames, -1, -1, -1)
    return F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)


def push_into_photos(
    names: Sequence[str], motion_bucket_id_B: Tensor, num_frames: int, size: int, generator: torch.Generator
) -> Tensor:
    """Clips [B, F, 3, H, W] of random crops, mirrored and brightened at random, of random photographs."""
    zooms = zoom(motion_bucket_id_B, num_frames)
    clips = []
    for zoom_F in zooms:
        u = torch.rand(6, generator=generator)
        pyramid = photo(names[int(u[0] * len(names))], size)
        clip = _random_crop(pyramid, u, zoom_F, size)
        gain = 0.75 + 0.5 * u[5]
        clips.append((clip * gain).clamp(0, 1))
    return torch.stack(clips)


def _random_crop(pyramid: Pyramid, u: Tensor, zoom_F: Tensor, size: int) -> Tensor:
    largest = min(pyramid.levels[0].shape[-2:])
    edge = size * (largest / size) ** float(u[1])
    level = min(int(2 * math.log2(edge / size)), len(pyramid.levels) - 1)
    picture = pyramid.levels[level]
    half = edge / 2 * picture.shape[-1] / pyramid.levels[0].shape[-1]
    height, width = picture.shape[-2:]
    half = min(half, height / 2, width / 2)
    centre = (half + float(u[2]) * (width - 2 * half), half + float(u[3]) * (height - 2 * half))
    clip = push_in(picture, centre, half, zoom_F, size)
    return clip.flip(-1) if u[4] < 0.5 else clip


def push_into_procedural(motion_bucket_id_B: Tensor, num_frames: int, size: int, generator: torch.Generator) -> Tensor:
    """Clips [B, F, 3, H, W] of the camera pushing into procedural pictures without a sprite."""
    zooms = zoom(motion_bucket_id_B, num_frames)
    pictures = procedural(len(zooms), size, generator)
    middle = (size / 2, size / 2)
    return torch.stack([push_in(p, middle, size / 2, z, size) for p, z in zip(pictures, zooms, strict=True)])
