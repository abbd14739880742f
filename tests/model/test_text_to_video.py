"""The text-to-video pipeline samples at the noise levels that T2V-Turbo's authors do."""

from pathlib import Path
from typing import Any

import pytest

from vdmini.engine import load_engine
from vdmini.families import family_named

PUBLISHED = {
    4: [999, 749, 499, 249],
    8: [999 - 125 * step for step in range(8)],
    16: [999 - 60 * step for step in range(16)],
}
"""scheduler/t2v_turbo_scheduler.py of the published code: 200 timesteps, of which every (200 // steps)th."""


@pytest.fixture(scope="module")
def pipeline(root: Path) -> Any:
    return load_engine(root / "compression/teachers/small-t2v", device="cpu", dtype="float32").pipeline


@pytest.mark.parametrize("steps", sorted(PUBLISHED))
def test_timesteps_are_the_published_ones(pipeline: Any, steps: int) -> None:
    seen: list[int] = []

    def note(_: Any, __: int, timestep: int, state: dict[str, Any]) -> dict[str, Any]:
        seen.append(timestep)
        return state

    pipeline("a red circle", num_frames=1, num_inference_steps=steps, output_type="latent", callback_on_step_end=note)
    assert seen == PUBLISHED[steps]
    assert family_named("videocrafter2").timesteps(pipeline.scheduler, steps).tolist() == seen  # what students learn


@pytest.mark.parametrize("steps", [0, 201])
def test_more_steps_than_it_was_distilled_on_are_refused(pipeline: Any, steps: int) -> None:
    with pytest.raises(ValueError, match=f"num_inference_steps is {steps}; give 1 to 200"):
        pipeline("a red circle", num_frames=1, num_inference_steps=steps, output_type="latent")
