"""A cheap check of a clip: does it show what no working model makes? What follows is left to `worker.escalation`.

Such a check must not cry wolf: a false alarm costs a run of the teacher. So each threshold lies far beyond what the
committed models make of many inputs (`benchmarks/plausible_clips.py`), and whatever the request itself may ask for
is let through: a plain picture stays plain, an amount of motion near 0 stands still.

Legend: F frames, H height, W width, 3 colour channels. Levels are those of uint8, 0..255.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from vdmini_serve.contract.job import EscalationReason
from vdmini_serve.contract.request import JobSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vdmini.engine import Generation

IN_WORDS: dict[EscalationReason, str] = {
    "not_finite": "holds values that are no numbers",
    "one_colour": "is of one colour",
    "still": "stands still although motion was asked for",
    "flicker": "flickers: successive frames have nothing in common",
}

PLAIN_LEVELS = 1.0
"""Contrast below which every frame is of one colour: rounding alone makes 0.3, and the flattest clip that the
small models make, of a photo of fine grain, has 2."""

STILL_LEVELS = 0.05
"""Greatest step below which a clip stands still: one pixel value in twenty changes by one level. A copied frame is at
0; a model that works is never that quiet, whatever the prompt says, because each frame has noise of its own."""

FLICKER_SHARE = 1.0
"""Flicker of unrelated frames is 1.9 of their contrast, that of a thing that moves on well below 0.5."""

LEAST_BUCKET = 32
"""`motion_bucket_id` below which little motion was asked for, and none is a fair answer."""

LEAST_IMAGE_CONTRAST = 16.0
"""Contrast in levels of an image in which motion would show. The small models smooth what has less almost away."""

SIDE = 128
"""Frames are looked at on a grid of at least this many pixels: enough for a mean, and milliseconds for any size."""


@dataclass(frozen=True)
class Measures:
    """What is looked at.

    Args:
        contrast: standard deviation over a frame's pixels, in levels, of the frame with the most.
        motion: mean absolute difference of successive frames, in levels, of the greatest step.
        flicker: mean absolute second difference over frames, as a share of the mean contrast; the median over the
            clip, so that a cut doesn't count.
    """

    contrast: float
    motion: float
    flicker: float


def measure(frames_FHW3: "NDArray[np.uint8]") -> Measures:
    """Measure a clip; motion is 0 with a single frame, flicker with fewer than three."""
    import numpy as np  # the parent process has no use for it

    stride = max(1, min(frames_FHW3.shape[1:3]) // SIDE)
    seen_FHW3 = frames_FHW3[:, ::stride, ::stride].astype(np.float32)
    contrasts_F = seen_FHW3.std(axis=(1, 2)).mean(axis=-1)
    step = np.diff(seen_FHW3, axis=0)
    steps = np.abs(step).mean(axis=(1, 2, 3))
    turns = np.abs(np.diff(step, axis=0)).mean(axis=(1, 2, 3))
    contrast = float(contrasts_F.mean())
    flicker = float(np.median(turns)) / contrast if len(turns) and contrast > 0 else 0.0
    return Measures(float(contrasts_F.max()), float(steps.max(initial=0.0)), flicker)


def implausible(generation: "Generation", spec: JobSpec, image: bytes | None) -> EscalationReason | None:
    """What is wrong with a clip that a model made of a job; None when nothing is.

    Args:
        generation: the clip.
        spec: what was asked for.
        image: the PNG that it began with, for image-to-video.
    """
    if not generation.finite:
        return "not_finite"
    found = measure(generation.frames)
    if found.contrast < PLAIN_LEVELS:
        return "one_colour" if _shows_something(image) else None
    if found.motion < STILL_LEVELS and len(generation.frames) > 1 and asks_for_motion(spec, image):
        return "still"
    return "flicker" if found.flicker > FLICKER_SHARE else None


def asks_for_motion(spec: JobSpec, image: bytes | None) -> bool:
    """Whether a still clip is a wrong answer: always for a sentence, since a model's noise moves in any scene."""
    return spec.task == "t2v" or (spec.motion_bucket_id >= LEAST_BUCKET and _shows_something(image))


def _shows_something(image: bytes | None) -> bool:
    if image is None:
        return True
    import numpy as np

    with Image.open(io.BytesIO(image), formats=("PNG",)) as opened:
        return measure(np.asarray(opened.convert("RGB"))[None]).contrast >= LEAST_IMAGE_CONTRAST
