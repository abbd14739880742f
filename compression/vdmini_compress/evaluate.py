"""Scores an engine on the small world: content and motion apart, on clips that no training saw.

It leaves the measures themselves to `vdmini_compress.world.measure`.
"""

import random
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vdmini.engine import Engine
from vdmini_compress.world import captions, clips, measure
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, NUM_FRAMES, SHAPES, SIZE

HELD_OUT_SEED = 900_000
"""Seeds of evaluation start here; training never draws from them."""

Scores = dict[str, float]


def to_picture(frame_3HW: Tensor) -> Image.Image:
    """A frame in 0..1 as an RGB picture."""
    return Image.fromarray((frame_3HW.permute(1, 2, 0) * 255).round().byte().numpy())


def settings_of(engine: Engine, **changes: Any) -> dict[str, Any]:
    """The engine's default generation arguments with some changed."""
    wanted = engine.manifest.defaults.model_dump()
    return {"image": None, "prompt": None, "seed": 0} | wanted | changes


def generate(engine: Engine, **changes: Any) -> Tensor:
    """One generated clip [F, 3, H, W], float32 in 0..1."""
    frames = engine.generate(**settings_of(engine, **changes)).frames
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def evaluate(engine: Engine, *, count: int, seed: int) -> Scores:
    """Score an engine on `count` held-out clips.

    Args:
        engine: teacher or student.
        count: clips per kind.
        seed: picks the clips and seeds the noise.

    Returns:
        Measure -> value; lengths in pixels, PSNR in dB, errors and shares in 0..1.

    Raises:
        ValueError: when the model cannot make a clip of the small world.
    """
    _check_size(engine)
    return _image_scores(engine, count, seed) if engine.manifest.task == "i2v" else _text_scores(engine, count, seed)


def _check_size(engine: Engine) -> None:
    limits, name = engine.manifest.limits, engine.manifest.name
    if (SIZE, SIZE) not in limits.sizes or not limits.min_num_frames <= NUM_FRAMES <= limits.max_num_frames:
        sizes = ", ".join(f"{width}x{height}" for width, height in limits.sizes)
        raise ValueError(
            f"{name} makes {limits.min_num_frames} to {limits.max_num_frames} frames of {sizes}; the small world that "
            f"this measures on has {NUM_FRAMES} frames of {SIZE}x{SIZE}: give, say, compression/teachers/small-i2v"
        )


def _image_scores(engine: Engine, count: int, seed: int) -> Scores:
    generator = torch.Generator().manual_seed(HELD_OUT_SEED + seed)
    cameras = max(4, count // 4)
    batch = clips.image_clips(count, cameras, generator, photos=HELD_OUT_PHOTOS)
    true = batch.frames_BF3HW
    made = torch.stack(
        [
            generate(engine, image=to_picture(clip[0]), motion_bucket_id=int(bucket), seed=seed + index)
            for index, (clip, bucket) in enumerate(zip(true, batch.motion_bucket_id_B, strict=True))
        ]
    )
    still = true[:, :1].expand_as(true)
    scores = _sprite_scores(made[:count], true[:count], batch.background_B3HW)
    scores["repeat_psnr_db"] = measure.psnr(still[:count], true[:count])
    scores["psnr_gain_db"] = scores["clip_psnr_db"] - scores["repeat_psnr_db"]
    scores["camera_psnr_db"] = measure.psnr(made[count:], true[count:])
    scores["camera_repeat_psnr_db"] = measure.psnr(still[count:], true[count:])
    return scores


def _sprite_scores(made: Tensor, true: Tensor, background: Tensor) -> Scores:
    found, expected = measure.track(made, background), measure.track(true, background)
    return {
        "trajectory_error_px": float(measure.trajectory_error(found, expected).mean()),
        "appearance_error": float(measure.appearance_error(made, true, found, expected).mean()),
        "background_error": float(measure.background_error(made, true, expected).mean()),
        "clip_psnr_db": measure.psnr(made, true),
    }


def held_out_scenes(count: int, seed: int) -> list[captions.Scene]:
    """`count` scenes whose captions no training saw, shuffled by `seed`."""
    scenes = [s for s in captions.all_scenes() if captions.is_held_out(s)]
    random.Random(seed).shuffle(scenes)  # noqa: S311 - a shuffle, not a secret
    return [scenes[index % len(scenes)] for index in range(count)]


def _text_scores(engine: Engine, count: int, seed: int) -> Scores:
    scenes = held_out_scenes(count, seed)
    fps = engine.manifest.defaults.fps
    batch = clips.text_clips(scenes, torch.full((count,), float(fps)))
    made = torch.stack(
        [generate(engine, prompt=scene.caption, fps=fps, seed=seed + index) for index, scene in enumerate(scenes)]
    )
    found = measure.track(made, batch.background_B3HW)
    right = {
        "colour_accuracy": measure.colours(made, found) == _indices([s.colour for s in scenes], list(COLOURS)),
        "shape_accuracy": measure.shapes(found, clips.TEXT_RADIUS) == _indices([s.shape for s in scenes], list(SHAPES)),
        "direction_accuracy": measure.directions(found) == _indices([s.direction for s in scenes], list(DIRECTIONS)),
    }
    accuracies = {name: float(hits.float().mean()) for name, hits in right.items()}
    return accuracies | _sprite_scores(made, batch.frames_BF3HW, batch.background_B3HW)


def _indices(words: list[str], names: list[str]) -> Tensor:
    return torch.tensor([names.index(word) for word in words])
