"""Scores an engine on the small world: content and motion apart, on clips that no training saw.

It leaves the measures themselves to `vdmini_compress.world.measure`.
"""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vdmini.engine import Engine
from vdmini_compress.suites.intervals import Estimate
from vdmini_compress.world import captions, clips, measure
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, NUM_FRAMES, SHAPES, SIZE

HELD_OUT_SEED = 900_000
"""Seeds of evaluation start here; training never draws from them."""

DRAWS = 1000
"""Bootstrap samples behind an interval."""

Scores = dict[str, float]
ClipScores = dict[str, NDArray[np.float64]]


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
    """Score an engine on `count` held-out clips; see `score_clips`.

    Returns:
        Measure -> value; lengths in pixels, PSNR in dB over all clips together, errors and shares in 0..1.
    """
    return summary(score_clips(engine, count=count, seed=seed))


def estimates(engine: Engine, *, count: int, seed: int) -> dict[str, Estimate]:
    """`evaluate` with the 95 % percentile bootstrap interval of every measure over clips."""
    clip_scores = score_clips(engine, count=count, seed=seed)
    values = summary(clip_scores)
    drawn = [summary(_resampled(clip_scores, np.random.default_rng(draw))) for draw in range(DRAWS)]
    ends = {name: np.quantile([row[name] for row in drawn], (0.025, 0.975)) for name in values}
    return {
        name: Estimate(value=values[name], interval=(float(low), float(high))) for name, (low, high) in ends.items()
    }


def score_clips(engine: Engine, *, count: int, seed: int, camera: bool = True) -> ClipScores:
    """Score each of `count` held-out clips.

    Args:
        engine: teacher or student.
        count: clips per kind.
        seed: picks the clips and seeds the noise.
        camera: also score an image-to-video model on clips of a moving camera; those of sprites stay the same.

    Returns:
        Measure -> one number per clip. Where a PSNR is meant it is the mean squared error, named "..._mse".

    Raises:
        ValueError: when the model cannot make a clip of the small world.
    """
    refuse_other_sizes(engine)
    if engine.manifest.task == "i2v":
        return _image_scores(engine, count, seed, camera=camera)
    return _text_scores(engine, count, seed)


def summary(clip_scores: ClipScores) -> Scores:
    """Means over clips; of mean squared errors the PSNR in dB, and what it gains over repeating the first frame."""
    scores: Scores = {}
    for name, values in clip_scores.items():
        mean = float(np.mean(values))
        if name.endswith("_mse"):
            scores[name.removesuffix("_mse") + "_psnr_db"] = measure.decibels(mean)
        else:
            scores[name] = mean
    if "repeat_psnr_db" in scores:
        scores["psnr_gain_db"] = scores["clip_psnr_db"] - scores["repeat_psnr_db"]
    return scores


def _resampled(clip_scores: ClipScores, generator: np.random.Generator) -> ClipScores:
    """Clips drawn with replacement, the same ones for all measures of a kind of clip."""
    lengths = {len(values) for values in clip_scores.values()}
    picked = {length: generator.integers(length, size=length) for length in sorted(lengths)}
    return {name: values[picked[len(values)]] for name, values in clip_scores.items()}


def refuse_other_sizes(engine: Engine) -> None:
    """Raise `ValueError` when a model cannot make a clip of the small world."""
    limits, name = engine.manifest.limits, engine.manifest.name
    if (SIZE, SIZE) not in limits.sizes or not limits.min_num_frames <= NUM_FRAMES <= limits.max_num_frames:
        sizes = ", ".join(f"{width}x{height}" for width, height in limits.sizes)
        raise ValueError(
            f"{name} makes {limits.min_num_frames} to {limits.max_num_frames} frames of {sizes}; the small world that "
            f"this measures on has {NUM_FRAMES} frames of {SIZE}x{SIZE}: give, say, compression/teachers/small-i2v"
        )


def _image_scores(engine: Engine, count: int, seed: int, *, camera: bool) -> ClipScores:
    generator = torch.Generator().manual_seed(HELD_OUT_SEED + seed)
    cameras = max(4, count // 4)
    batch = clips.image_clips(count, cameras, generator, photos=HELD_OUT_PHOTOS)
    true = batch.frames_BF3HW if camera else batch.frames_BF3HW[:count]
    made = torch.stack(
        [
            generate(engine, image=to_picture(clip[0]), motion_bucket_id=int(bucket), seed=seed + index)
            for index, (clip, bucket) in enumerate(zip(true, batch.motion_bucket_id_B[: len(true)], strict=True))
        ]
    )
    still = true[:, :1].expand_as(true)
    scores = _sprite_scores(made[:count], true[:count], batch.background_B3HW)
    scores["repeat_mse"] = measure.squared_error(still[:count], true[:count])
    if camera:
        scores["camera_mse"] = measure.squared_error(made[count:], true[count:])
        scores["camera_repeat_mse"] = measure.squared_error(still[count:], true[count:])
    return {name: values.double().numpy() for name, values in scores.items()}


def _sprite_scores(made: Tensor, true: Tensor, background: Tensor) -> dict[str, Tensor]:
    found, expected = measure.track(made, background), measure.track(true, background)
    return {
        "trajectory_error_px": measure.trajectory_error(found, expected),
        "appearance_error": measure.appearance_error(made, true, found, expected),
        "background_error": measure.background_error(made, true, expected),
        "clip_mse": measure.squared_error(made, true),
    }


def held_out_scenes(count: int, seed: int) -> list[captions.Scene]:
    """`count` scenes whose captions no training saw, shuffled by `seed`."""
    scenes = [s for s in captions.all_scenes() if captions.is_held_out(s)]
    random.Random(seed).shuffle(scenes)  # noqa: S311 - a shuffle, not a secret
    return [scenes[index % len(scenes)] for index in range(count)]


def _text_scores(engine: Engine, count: int, seed: int) -> ClipScores:
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
    scores = right | _sprite_scores(made, batch.frames_BF3HW, batch.background_B3HW)
    return {name: values.double().numpy() for name, values in scores.items()}


def _indices(words: list[str], names: list[str]) -> Tensor:
    return torch.tensor([names.index(word) for word in words])
