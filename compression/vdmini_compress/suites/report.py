"""What a suite found."""

from pydantic import Field

from vdmini.engine import Engine
from vdmini.manifest import Record
from vdmini_compress.suites.intervals import Estimate
from vdmini_compress.suites.output import ClipFolder


class SuiteReport(Record):
    """The numbers of one model on one suite, with all that is needed to repeat them."""

    suite: str
    model: str
    device: str
    dtype: str
    seed: int
    width: int = Field(description="of the generated clips, in pixels")
    height: int
    num_frames: int
    fps: int
    videos: int = Field(description="generated clips behind the numbers")
    folder: str = Field(description="where those are")
    measures: dict[str, Estimate]
    notes: tuple[str, ...] = Field(default=(), description="what a reader must know before comparing")


def report_of(
    suite: str, folder: ClipFolder, *, videos: int, measures: dict[str, Estimate], notes: tuple[str, ...]
) -> SuiteReport:
    """Put a suite's numbers and the conditions they were taken under together."""
    engine: Engine = folder.engine
    shared = {name: folder.settings[name] for name in ("width", "height", "num_frames", "fps")}
    return SuiteReport(
        suite=suite,
        model=engine.manifest.name,
        device=engine.device,
        dtype=engine.dtype,
        seed=folder.seed,
        videos=videos,
        folder=str(folder.videos),
        measures=measures,
        notes=notes,
        **shared,
    )
