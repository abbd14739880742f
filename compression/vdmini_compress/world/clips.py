"""Batches of clips with everything a model is told about them and the right answer.

Legend: B clips, F frames, H height, W width, 3 colour channels, values 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vdmini_compress.world import captions
from vdmini_compress.world.camera import push_into_photos, push_into_procedural
from vdmini_compress.world.pictures import TRAIN_PHOTOS, procedural
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, NUM_FRAMES, SHAPES, SIZE, Sprites, paint, unit_vectors

TEXT_RADIUS = 10.0
"""Half the extent, in pixels, of the sprites that captions describe."""

MAX_PIXELS_PER_FRAME = 4.0
"""Speed of a sprite at `motion_bucket_id` 255."""


@dataclass(frozen=True)
class ImageClips:
    """What an image-to-video model is shown: the first frame, `motion_bucket_id`, and what must follow.

    Args:
        frames_BF3HW: the right answer, float32 in 0..1; frame 0 is the condition.
        background_B3HW: the first `len(background)` clips' pictures without their sprite (none for camera clips).
        motion_bucket_id_B: int64 in 0..255.
        sprites: the moving things of the first `len(background)` clips.
    """

    frames_BF3HW: Tensor
    background_B3HW: Tensor
    motion_bucket_id_B: Tensor
    sprites: Sprites


@dataclass(frozen=True)
class TextClips:
    """What a text-to-video model is shown: a caption and `fps`, and the clip that it describes."""

    frames_BF3HW: Tensor
    background_B3HW: Tensor
    scenes: tuple[captions.Scene, ...]
    fps_B: Tensor


def _pick(count: int, below: int, generator: torch.Generator) -> Tensor:
    return torch.randint(below, (count,), generator=generator)


def _moving_sprites(motion_bucket_id_B: Tensor, num_frames: int, size: int, generator: torch.Generator) -> Sprites:
    """Sprites at random places from which they stay inside the picture for the whole clip."""
    count = len(motion_bucket_id_B)
    heading = _pick(count, len(DIRECTIONS), generator)
    radius = 9 + 2 * torch.rand(count, generator=generator)
    step = unit_vectors(heading) * (MAX_PIXELS_PER_FRAME * motion_bucket_id_B / 255)[:, None]
    travel = step * (num_frames - 1)
    low = (radius + 1)[:, None] - travel.clamp(max=0)
    high = size - (radius + 1)[:, None] - travel.clamp(min=0)
    start = low + (high - low) * torch.rand(count, 2, generator=generator)
    centre = start[:, None] + step[:, None] * torch.arange(num_frames)[None, :, None]
    return Sprites(_pick(count, len(SHAPES), generator), _pick(count, len(COLOURS), generator), heading, radius, centre)


def image_clips(
    sprites: int,
    camera: int,
    generator: torch.Generator,
    *,
    photos: Sequence[str] = TRAIN_PHOTOS,
    num_frames: int = NUM_FRAMES,
    size: int = SIZE,
) -> ImageClips:
    """Draw a batch for an image-to-video model.

    Args:
        sprites: how many clips show a sprite moving along its heading; they come first.
        camera: how many clips show the camera pushing in, three in four of them into a photograph.
        generator: source of all randomness.
        photos: scikit-image names to push into.
        num_frames: frames per clip.
        size: edge in pixels.

    Returns:
        The batch, sprites first.
    """
    bucket = _pick(sprites + camera, 256, generator)
    things = _moving_sprites(bucket[:sprites], num_frames, size, generator)
    background = procedural(sprites, size, generator)
    parts = [paint(background[:, None], things, eye=True)]
    drawn = camera // 4
    if camera:
        parts.append(push_into_photos(photos, bucket[sprites : len(bucket) - drawn], num_frames, size, generator))
    if drawn:
        parts.append(push_into_procedural(bucket[len(bucket) - drawn :], num_frames, size, generator))
    return ImageClips(torch.cat(parts), background, bucket, things)


def text_paths(scenes: Sequence[captions.Scene], fps_B: Tensor, *, num_frames: int = NUM_FRAMES) -> Tensor:
    """Where the sprites of captions are: [B, F, 2] (x, y) in pixels relative to the picture's middle."""
    heading = torch.tensor([DIRECTIONS.index(s.direction) for s in scenes])
    speed = torch.tensor([captions.SPEEDS[s.speed] for s in scenes]) / fps_B
    time = torch.arange(num_frames) - (num_frames - 1) / 2
    return unit_vectors(heading)[:, None] * (speed[:, None] * time)[..., None]


def text_clips(
    scenes: Sequence[captions.Scene], fps_B: Tensor, *, num_frames: int = NUM_FRAMES, size: int = SIZE
) -> TextClips:
    """Film what captions say: the sprite passes the middle of the picture halfway through the clip.

    Args:
        scenes: what is seen.
        fps_B: frames per second of each clip; the faster the frames follow, the shorter the steps.
        num_frames: frames per clip.
        size: edge in pixels.

    Returns:
        The batch.
    """
    index = [(SHAPES.index(s.shape), list(COLOURS).index(s.colour), DIRECTIONS.index(s.direction)) for s in scenes]
    shape, colour, heading = torch.tensor(index).unbind(1)
    centre = size / 2 + text_paths(scenes, fps_B, num_frames=num_frames)
    background = torch.stack([captions.background(s.background, size) for s in scenes])
    things = Sprites(shape, colour, heading, torch.full((len(scenes),), TEXT_RADIUS), centre)
    return TextClips(paint(background[:, None], things, eye=False), background, tuple(scenes), fps_B)
