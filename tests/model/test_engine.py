"""An engine generates what plain diffusers generates, the same each time, and stops when told."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

from vdmini.engine import STAGES, Engine, VideoInterrupted, load_engine, pick_device, pick_dtype
from vdmini.families import family_named
from vdmini.text_to_video import VDMiniTextToVideoPipeline

CAPTION = "a red circle moving left slowly on a white background"


@pytest.fixture(scope="session")
def conditions(task: str) -> dict[str, Any]:
    ramp = np.broadcast_to(np.linspace(20, 220, 64).astype(np.uint8)[None, :, None], (64, 64, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    return {"image": image, "prompt": None} if task == "i2v" else {"image": None, "prompt": CAPTION}


def arguments(engine: Engine, conditions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**engine.manifest.defaults.model_dump(), "seed": 3, **conditions, **changes}


def test_the_same_seed_gives_the_same_frames(teacher_engine: Engine, conditions: dict[str, Any]) -> None:
    first = teacher_engine.generate(**arguments(teacher_engine, conditions))
    second = teacher_engine.generate(**arguments(teacher_engine, conditions))
    other = teacher_engine.generate(**arguments(teacher_engine, conditions, seed=4))
    assert first.frames.dtype == np.uint8
    assert first.frames.shape == (8, 64, 64, 3)
    assert np.array_equal(first.frames, second.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_every_stage_is_timed(teacher_engine: Engine, conditions: dict[str, Any]) -> None:
    seconds = teacher_engine.generate(**arguments(teacher_engine, conditions)).seconds
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())


def test_values_that_are_no_numbers_are_told_and_black(teacher_engine: Engine, conditions: dict[str, Any]) -> None:
    last = teacher_engine.pipeline.vae.decoder.conv_out
    kept = last.bias.detach().clone()
    asked = arguments(teacher_engine, conditions)
    try:
        with torch.no_grad():
            last.bias[0] = float("nan")
        made = teacher_engine.generate(**asked)
    finally:
        with torch.no_grad():
            last.bias.copy_(kept)
    assert not made.finite
    assert not made.frames[..., 0].any()
    assert teacher_engine.generate(**asked).finite


def test_the_engine_equals_the_plain_pipeline(teacher_engine: Engine, conditions: dict[str, Any]) -> None:
    asked = arguments(teacher_engine, conditions)
    made = teacher_engine.generate(**asked).frames
    seeded = torch.Generator().manual_seed(asked["seed"])
    pipeline = teacher_engine.pipeline
    if teacher_engine.manifest.task == "i2v":
        assert isinstance(pipeline, StableVideoDiffusionPipeline)
        plain = pipeline(
            asked["image"], 64, 64, num_frames=8, num_inference_steps=1, max_guidance_scale=1.0, fps=asked["fps"],
            motion_bucket_id=asked["motion_bucket_id"], generator=seeded, output_type="np",
        ).frames[0]  # fmt: skip
    else:
        assert isinstance(pipeline, VDMiniTextToVideoPipeline)
        plain = pipeline(CAPTION, num_frames=8, fps=asked["fps"], generator=seeded, output_type="np").frames[0]
    assert np.array_equal(made, (plain * 255).round().astype(np.uint8))


def test_raising_in_on_progress_stops_and_the_engine_works_on(
    teacher_engine: Engine, conditions: dict[str, Any]
) -> None:
    heard: list[float] = []

    def stop(fraction: float) -> None:
        heard.append(fraction)
        raise VideoInterrupted

    with pytest.raises(VideoInterrupted):
        teacher_engine.generate(**arguments(teacher_engine, conditions, on_progress=stop))
    assert heard == [0.0]
    fractions: list[float] = []
    teacher_engine.generate(**arguments(teacher_engine, conditions, on_progress=fractions.append))
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)


def test_a_missing_input_is_an_error(teacher_engine: Engine) -> None:
    with pytest.raises(ValueError, match="give"):
        teacher_engine.generate(**arguments(teacher_engine, {"image": None, "prompt": None}))


def test_tokens_are_counted_with_start_and_end(teacher_engine: Engine) -> None:
    expected = 0 if teacher_engine.manifest.task == "i2v" else 12  # ten words
    assert teacher_engine.count_tokens(CAPTION) == expected


def test_bfloat16_stays_close_to_float32(teacher_engine: Engine, conditions: dict[str, Any]) -> None:
    folder = {"i2v": "small-i2v", "t2v": "small-t2v"}[teacher_engine.manifest.task]
    half = load_engine(_teachers() / folder, device="cpu", dtype="bfloat16")
    assert half.dtype == "bfloat16"
    full = teacher_engine.generate(**arguments(teacher_engine, conditions)).frames.astype(float)
    rough = half.generate(**arguments(teacher_engine, conditions)).frames.astype(float)
    assert np.abs(full - rough).mean() < 12


def _teachers() -> Any:
    from pathlib import Path

    return Path(__file__).resolve().parents[2] / "compression" / "teachers"


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="float32, float16, bfloat16"):
        pick_dtype("float8", torch.device("cpu"))
    with pytest.raises(ValueError, match="svd, videocrafter2, modelscope"):
        family_named("sora")
    assert pick_device("cpu") == torch.device("cpu")
