"""UCF101 as image-to-video models are scored on it (arXiv 2411.18375, 2406.04324), or any other real clips.

The first frame of each real clip is the condition; generated and real clips are then compared at the real clips'
size. Legend: N clips, F frames, H height, W width, 3 colour channels, values 0..1.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vdmini.engine import Engine
from vdmini_compress.evaluate import to_picture
from vdmini_compress.suites.comparison import Instruments, compare, joined
from vdmini_compress.suites.output import ClipFolder, read_mp4
from vdmini_compress.suites.report import SuiteReport, report_of

NAME = "ucf101"

NUM_FRAMES, FPS = 14, 7
"""The papers' clips."""

WIDTH, HEIGHT = 320, 240
"""UCF101's own picture (arXiv 1212.0402), at which clips are compared."""

PUBLISHED_CLIPS = 1000
"""FVD's bias falls with the number of clips; below so many a note says so."""

AT_ONCE = 4
"""Pairs of clips that are measured together."""


class RealClips(Protocol):
    """Real clips, all of one size, frame count and frame rate."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def clip(self, index: int) -> Tensor | None:
        """Clip [F, 3, H, W], floating point in 0..1, or None if that video has no such clip (too short, broken)."""
        ...


def protocol_settings(engine: Engine) -> dict[str, Any]:
    """Frames and frame rate of the generated clips: the papers' where the model can, else its own.

    Raises:
        ValueError: when the model makes no video from an image.
    """
    manifest = engine.manifest
    if manifest.task != "i2v":
        raise ValueError(f"{manifest.name} makes videos from text; suite {NAME} gives images: take suite vbench")
    limits, defaults = manifest.limits, manifest.defaults
    frames_fit = limits.min_num_frames <= NUM_FRAMES <= limits.max_num_frames
    fps_fits = limits.min_fps <= FPS <= limits.max_fps
    return {"num_frames": NUM_FRAMES if frames_fit else defaults.num_frames, "fps": FPS if fps_fits else defaults.fps}


def compared_size(engine: Engine) -> tuple[int, int]:
    """(width, height) at which real clips are best read: UCF101's, or the model's own if that is smaller."""
    own = (engine.manifest.defaults.width, engine.manifest.defaults.height)
    return (WIDTH, HEIGHT) if own[0] >= WIDTH and own[1] >= HEIGHT else own


def evaluate(
    engine: Engine,
    real: RealClips,
    *,
    instruments: Instruments,
    count: int,
    seed: int,
    output: Path,
    say: Callable[[str], None],
) -> SuiteReport:
    """Generate a clip from the first frame of each of `count` real ones and compare the two sets.

    Args:
        engine: an image-to-video model.
        real: clips with the frames and frame rate of `protocol_settings`.
        instruments: what both sets are measured with.
        count: clips; a larger count keeps those of a smaller one.
        seed: picks the clips and seeds the noise.
        output: where the generated clips stay, as MP4; an interrupted run goes on from what is there.
        say: receives progress, one line at a time.

    Returns:
        The names of `comparison.MEASURES`, with intervals.

    Raises:
        ValueError: when the model makes no video from an image, or there are too few or other real clips.
    """
    settings = protocol_settings(engine)
    if not 2 <= count <= len(real):
        raise ValueError(f"{count} clips of {len(real)} videos; give at least 2 and at most as many as there are")
    folder = ClipFolder(output, engine, suite=NAME, seed=seed, settings=settings)
    made_parts, real_parts, done = [], [], 0
    chosen = islice(_pairs(folder, real, seed), count)
    while pairs := list(islice(chosen, AT_ONCE)):
        made_parts.append(instruments.measure(torch.stack([made for made, _ in pairs]).to(engine.torch_device)))
        real_parts.append(instruments.measure(torch.stack([true for _, true in pairs]).to(engine.torch_device)))
        done += len(pairs)
        say(f"{done}/{count} clips")
    if done < 2:
        raise ValueError(
            f"only {done} of {len(real)} videos have {settings['num_frames']} frames at {settings['fps']} a second"
        )
    measures = compare(joined(made_parts), joined(real_parts), seed=seed)
    return report_of(NAME, folder, videos=done, measures=measures, notes=_notes(settings, instruments, done, count))


def _pairs(folder: ClipFolder, real: RealClips, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(generated, real) clips of one size, in an order that only `seed` decides."""
    order = list(range(len(real)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    shape: torch.Size | None = None
    for index in order:
        true = real.clip(index)
        if true is None:
            continue
        shape = shape or true.shape
        if true.shape != shape or len(true) != folder.settings["num_frames"]:
            raise ValueError(
                f"real clip {index} is {tuple(true.shape)}, the first one {tuple(shape)}; give clips of one shape, of "
                f"{folder.settings['num_frames']} frames"
            )
        yield _made(folder, index, true), true


def _made(folder: ClipFolder, index: int, true_F3HW: Tensor) -> Tensor:
    """The generated clip, read back from its file, at the real one's size."""
    picture = to_picture(true_F3HW[0])
    # the frame is part of the name, so that a clip made from another frame is never taken for this one
    name = f"{index:06d}-{hashlib.sha256(picture.tobytes()).hexdigest()[:8]}"
    made = read_mp4(folder.make(name, image=picture))
    if made.shape[-2:] == true_F3HW.shape[-2:]:
        return made
    return F.interpolate(made, size=true_F3HW.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def _notes(settings: dict[str, Any], instruments: Instruments, done: int, count: int) -> tuple[str, ...]:
    notes = []
    if instruments.i3d is None:
        notes.append("no FVD: it needs an I3D file")
    if done < PUBLISHED_CLIPS:
        notes.append(f"Fréchet distances of {done} clips are biased upwards; compare only runs on the same clips")
    if done < count:
        notes.append(f"{done} of {count} clips: no other video has a clip of this length")
    if settings != {"num_frames": NUM_FRAMES, "fps": FPS}:
        notes.append(
            f"the papers' clips have {NUM_FRAMES} frames at {FPS} a second; these are not comparable with them"
        )
    return tuple(notes)
