"""The check of finished clips: what it lets through, and what it calls broken."""

import io

import numpy as np
import pytest
from PIL import Image

from vdmini.engine import Generation
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.worker.plausibility import LEAST_BUCKET, implausible, measure


@pytest.fixture
def clip() -> np.ndarray:
    """A bright square that moves two pixels a frame over a ramp [8, 64, 64, 3]."""
    frames = np.broadcast_to(np.linspace(20, 180, 64).astype(np.uint8)[None, None, :, None], (8, 64, 64, 3)).copy()
    for index, frame in enumerate(frames):
        frame[20:36, 4 + 2 * index : 20 + 2 * index] = 250
    return frames


def spec(task: str = "t2v", motion_bucket_id: int = 127) -> JobSpec:
    return JobSpec(
        task=task,
        model="any",
        variant="vdmini",
        width=64,
        height=64,
        num_frames=8,
        fps=8,
        num_inference_steps=4,
        guidance_scale=1,
        motion_bucket_id=motion_bucket_id,
        noise_aug_strength=0.02,
        seed=0,
    )


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def verdict(frames: np.ndarray, asked: JobSpec | None = None, image: bytes | None = None) -> str | None:
    return implausible(Generation(frames, {}), asked or spec(), image)


def test_a_thing_that_moves_is_plausible(clip):
    assert verdict(clip) is None


def test_values_that_are_no_numbers_are_told_first(clip):
    assert implausible(Generation(clip, {}, finite=False), spec(), None) == "not_finite"


def test_a_clip_of_one_colour_is_told_even_when_the_colour_changes(clip):
    assert verdict(np.broadcast_to(clip.mean(axis=(1, 2), keepdims=True).astype(np.uint8), clip.shape)) == "one_colour"


def test_a_fade_from_black_is_plausible(clip):
    fade = clip * np.linspace(0, 1, 8)[:, None, None, None]
    assert verdict(fade.astype(np.uint8)) is None


def test_a_plain_image_may_stay_plain(clip):
    plain = np.full_like(clip, 90)
    assert verdict(plain, spec("i2v"), png(plain[0])) is None
    assert verdict(plain, spec("i2v"), png(clip[0])) == "one_colour"


@pytest.mark.parametrize(
    ("bucket", "expected"), [(0, None), (LEAST_BUCKET - 1, None), (LEAST_BUCKET, "still"), (255, "still")]
)
def test_an_image_stands_still_only_when_little_motion_was_asked_for(clip, bucket, expected):
    still = np.broadcast_to(clip[:1], clip.shape)
    assert verdict(still, spec("i2v", bucket), png(clip[0])) == expected


def test_a_sentence_never_gives_copies_of_one_frame(clip):
    assert verdict(np.broadcast_to(clip[:1], clip.shape)) == "still"


def test_the_least_noise_of_a_calm_scene_is_not_still(clip):
    noise = np.random.default_rng(0).integers(0, 2, clip.shape, dtype=np.uint8)
    assert verdict(clip[:1] + noise) is None


def test_frames_without_anything_in_common_flicker_and_one_cut_does_not(clip):
    order = np.random.default_rng(0)
    assert verdict(np.stack([order.permutation(frame.reshape(-1, 3)).reshape(64, 64, 3) for frame in clip])) == (
        "flicker"
    )
    assert verdict(np.concatenate([clip[:4], 255 - clip[4:]])) is None


@pytest.mark.parametrize("count", [1, 2])
def test_clips_too_short_to_judge_are_plausible(clip, count):
    assert verdict(clip[:count]) is None


def test_a_large_clip_is_judged_as_a_small_one(clip):
    small, large = measure(clip), measure(clip.repeat(8, axis=1).repeat(8, axis=2))
    assert large.contrast == pytest.approx(small.contrast, rel=1e-3)
    assert large.motion == pytest.approx(small.motion, rel=1e-3)
