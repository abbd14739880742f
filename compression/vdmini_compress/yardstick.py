"""What a teacher is measured with, whole and with a block off: how far its clips are off, content and motion apart.

Every reading takes the same clips and seeds, so two readings differ by nothing but what was done to the model between
them. Here is the yardstick of the small world; `vdmini_compress.suites.video_yardstick` has that of real videos.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from vdmini.engine import Engine
from vdmini.manifest import Record
from vdmini_compress.evaluate import score_clips, summary


class Measure(Record):
    """What a number is; all are lower for better clips."""

    name: str = Field(description="as suites and manifests call it")
    words: str = Field(description="for a reader")
    unit: str = Field(description="in which it is told")

    @property
    def label(self) -> str:
        """Words and unit, as an axis has them."""
        return f"{self.words} ({self.unit})"


APPEARANCE = Measure(name="appearance_error", words="appearance error", unit="0 to 1")
TRAJECTORY = Measure(name="trajectory_error_px", words="trajectory error", unit="pixels")
SMALL_WORLD = "the small world"


@dataclass(frozen=True)
class Reading:
    """How far a model's clips are off.

    Args:
        content: what single frames look like, in the yardstick's content measure.
        motion: how they follow each other, in its motion measure.
        fvd: Fréchet video distance, both in one; None where it isn't measured.
    """

    content: float
    motion: float
    fvd: float | None = None

    def beyond(self, whole: "Reading") -> "Reading":
        """How much further off than `whole`."""
        fvd = None if self.fvd is None or whole.fvd is None else self.fvd - whole.fvd
        return Reading(self.content - whole.content, self.motion - whole.motion, fvd)


class Yardstick(Protocol):
    """Measures one engine, as it is at the moment."""

    @property
    def content(self) -> Measure:
        """Of `Reading.content`."""
        ...

    @property
    def motion(self) -> Measure:
        """Of `Reading.motion`."""
        ...

    @property
    def data(self) -> str:
        """What the clips are of, for a reader."""
        ...

    @property
    def clips(self) -> int:
        """Clips behind a reading."""
        ...

    @property
    def seed(self) -> int:
        """It picked the clips and seeds the noise."""
        ...

    def read(self) -> Reading:
        """Generate all clips and measure them."""
        ...


@dataclass(frozen=True)
class SmallWorldYardstick:
    """Held-out clips of the small world, which knows what a sprite must look like and where it must be.

    Args:
        engine: a teacher of the small world.
        clips: how many.
        seed: picks the clips and seeds the noise.
    """

    engine: Engine
    clips: int
    seed: int
    content: Measure = APPEARANCE
    motion: Measure = TRAJECTORY
    data: str = SMALL_WORLD

    def read(self) -> Reading:
        """See `Yardstick`.

        Raises:
            ValueError: when the model cannot make a clip of the small world.
        """
        scores = summary(score_clips(self.engine, count=self.clips, seed=self.seed, camera=False))
        return Reading(content=scores[self.content.name], motion=scores[self.motion.name])
