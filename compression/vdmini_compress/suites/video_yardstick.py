"""A yardstick of real videos: generated clips against real ones with the same first frames or captions.

Content is the Fréchet distance of single frames, motion that of clips' motion statistics: neither knows what videos
show, so any will do. Legend: N clips, F frames, H height, W width, 3 colour channels, values 0..1.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vdmini.engine import Engine
from vdmini_compress.evaluate import generate, to_picture
from vdmini_compress.suites import motion
from vdmini_compress.suites.comparison import FRAME_DISTANCE, Instruments, Measured, joined
from vdmini_compress.suites.frechet import frechet_distance
from vdmini_compress.suites.real_videos import FilmClips
from vdmini_compress.videos.films import Film, Listing
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.yardstick import Measure, Reading

FRAMES = Measure(name=FRAME_DISTANCE, words="Fréchet distance of frames", unit="latent units squared")
MOTION = Measure(name="motion_distance", words="Fréchet distance of motion statistics", unit="logarithms squared")

LEAST_CLIPS = len(motion.LEAST_TOLD) + 1
"""The covariance of so many motion statistics has its full rank only from here on."""

COMPARED_SIDE = 256
"""Larger clips are shrunk until their shorter side has so many pixels; I3D looks at 224, flow at 128."""

MAX_ENLARGEMENT = 4.0
"""UCF101's videos may fill SVD's 1024x576; both sides are shrunk again before they are compared."""

AT_ONCE = 4
"""Clips that are measured together."""


@dataclass(frozen=True)
class VideoYardstick:
    """Real clips that were measured already, and what to generate their counterparts from; see `video_yardstick`.

    Args:
        engine: the teacher.
        conditions: of each clip, as arguments of `Engine.generate`; defaults fill the rest.
        real: what the real clips measured.
        instruments: measure the generated ones.
        seed: of the noise; each clip has its own.
        data: name of the videos' folder.
    """

    engine: Engine
    conditions: Sequence[dict[str, Any]]
    real: Measured
    instruments: Instruments
    seed: int
    data: str
    content: Measure = FRAMES
    motion: Measure = MOTION

    @property
    def clips(self) -> int:
        """See `vdmini_compress.yardstick.Yardstick`."""
        return len(self.conditions)

    def read(self) -> Reading:
        """See `vdmini_compress.yardstick.Yardstick`."""
        batches = [range(self.clips)[start : start + AT_ONCE] for start in range(0, self.clips, AT_ONCE)]
        device = self.engine.torch_device
        parts = [
            self.instruments.measure(torch.stack([self._made(index) for index in batch]).to(device))
            for batch in batches
        ]
        return distances(joined(parts), self.real)

    def _made(self, index: int) -> Tensor:
        return shrunk(generate(self.engine, **self.conditions[index], seed=self.seed + index))


def video_yardstick(
    engine: Engine,
    listing: Listing,
    *,
    data: str,
    instruments: Instruments,
    clips: int,
    seed: int,
    say: Callable[[str], None],
) -> VideoYardstick:
    """Read and measure the beginnings of some films, at the model's default size, frames and frame rate.

    An image-to-video model is given their first frames, a text-to-video model their captions, which it cuts to the
    tokens that it reads.

    Args:
        engine: a teacher.
        listing: the films.
        data: what they are, for a reader.
        instruments: what clips are measured with.
        clips: how many; a larger count keeps those of a smaller one.
        seed: picks the films and seeds the noise.
        say: receives progress, one line at a time.

    Raises:
        ValueError: when there are too few films, clips or captions, or the instruments refuse such clips.
    """
    usable = _usable(engine, listing, clips)
    reader = FilmClips(usable.films, _form(engine))
    reader.skipped.update(usable.skipped)
    chosen = islice(_read(reader, seed), clips)
    conditions: list[dict[str, Any]] = []
    parts: list[Measured] = []
    while batch := list(islice(chosen, AT_ONCE)):
        conditions += [_condition(engine, film, clip_F3HW) for film, clip_F3HW in batch]
        clips_NF3HW = torch.stack([shrunk(clip_F3HW) for _, clip_F3HW in batch])
        parts.append(instruments.measure(clips_NF3HW.to(engine.torch_device)))
        say(f"read {len(conditions)}/{clips} real clips")
    if len(conditions) < clips:
        raise ValueError(
            f"only {len(conditions)} of the {clips} clips could be had, {reader.skipped.report()}; give more videos, "
            f"or ask for fewer clips, at least {LEAST_CLIPS}"
        )
    return VideoYardstick(engine, conditions, joined(parts), instruments, seed, data)


def distances(made: Measured, real: Measured) -> Reading:
    """How far generated clips are from real ones; see `frechet_distance` for what it raises and for its bias."""
    fvd = None
    if made.clips_ND is not None and real.clips_ND is not None:
        fvd = frechet_distance(made.clips_ND, real.clips_ND)
    frames = [measured.frames_NFD.reshape(-1, measured.frames_NFD.shape[-1]) for measured in (made, real)]
    return Reading(
        content=frechet_distance(*frames),
        motion=frechet_distance(motion.log_scores(made.motion), motion.log_scores(real.motion)),
        fvd=fvd,
    )


def shrunk(clip_F3HW: Tensor) -> Tensor:
    """A clip at the size at which it is compared: its shorter side at most `COMPARED_SIDE`, both multiples of 8."""
    scale = min(1.0, COMPARED_SIDE / min(clip_F3HW.shape[-2:]))
    size = [8 * round(side * scale / 8) for side in clip_F3HW.shape[-2:]]
    if size == list(clip_F3HW.shape[-2:]):
        return clip_F3HW
    return F.interpolate(clip_F3HW, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def _usable(engine: Engine, listing: Listing, clips: int) -> Listing:
    usable = listing if engine.manifest.task == "i2v" else listing.captioned()
    if not usable.films:
        raise ValueError(
            f"{engine.manifest.name} makes videos from text, and none of {len(listing.films)} videos has a caption; "
            "write NAME.txt beside each, or captions.csv with the columns file and caption"
        )
    if not LEAST_CLIPS <= clips <= len(usable.films):
        raise ValueError(
            f"{clips} clips of {len(usable.films)} usable videos; give at least {LEAST_CLIPS}, which a Fréchet "
            "distance needs, and at most as many as there are"
        )
    return usable


def _form(engine: Engine) -> ClipForm:
    wanted = engine.manifest.defaults
    return ClipForm(
        num_frames=wanted.num_frames,
        width=wanted.width,
        height=wanted.height,
        fps=wanted.fps,
        max_enlargement=MAX_ENLARGEMENT,
    )


def _read(reader: FilmClips, seed: int) -> Iterator[tuple[Film, Tensor]]:
    """The films that a clip can be had of, with it, in an order that only `seed` decides."""
    order = list(range(len(reader)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    for index in order:
        clip_F3HW = reader.clip(index)
        if clip_F3HW is not None:
            yield reader.films[index], clip_F3HW


def _condition(engine: Engine, film: Film, clip_F3HW: Tensor) -> dict[str, Any]:
    return {"image": to_picture(clip_F3HW[0])} if engine.manifest.task == "i2v" else {"prompt": film.caption}
