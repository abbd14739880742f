"""`vdmini-compress analyze`: what each block of a teacher is worth."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vdmini_compress.commands.numbers import LEAST_CLIPS, at_least
from vdmini_compress.commands.video_options import add_videos, videos_from

if TYPE_CHECKING:
    from vdmini.engine import Engine
    from vdmini_compress.importance import BlockImportance, ImportanceReport
    from vdmini_compress.videos.settings import Videos
    from vdmini_compress.yardstick import Yardstick

NAME = "analyze"
HELP = "switch each block of a teacher off once: what is lost in content and motion, what is saved (minutes)"
EXAMPLES = """\
{prog} compression/teachers/small-i2v --output runs/importance
{prog} teachers/svd --videos UCF-101 --clips 64 --i3d i3d_torchscript.pt --output runs/importance
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("teacher", type=Path, metavar="TEACHER", help="such as compression/teachers/small-i2v")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for importance.json and .png")
    parser.add_argument(
        "--clips", type=at_least(LEAST_CLIPS), default=16, help="clips per block (default 16; with --videos 6 or more)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="picks the clips and seeds the noise (default 0)")
    parser.add_argument("--runs", type=at_least(20), default=20, help="paired forward passes per block (default 20)")
    parser.add_argument("--json", action="store_true", help="print importance.json on standard output")
    videos = add_videos(
        parser,
        "Measure on videos of your own, for any teacher: an image-to-video model is given their first frames, a "
        "text-to-video model their captions. Without --videos, clips of the small world are taken.",
    )
    videos.add_argument("--i3d", type=Path, metavar="FILE", help="I3D as TorchScript, for FVD (i3d_torchscript.pt)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini.engine import load_engine
    from vdmini_compress import importance, importance_plot
    from vdmini_compress.blocks import blocks_of
    from vdmini_compress.material import sample_input

    def say(line: str) -> None:
        console.print(line, markup=False)

    videos = videos_from(arguments, "i3d")
    engine = load_engine(arguments.teacher)
    report = importance.analyze(
        engine,
        blocks_of(engine.pipeline.unet),
        sample_input(engine),
        _yardstick(arguments, videos, engine, say),
        runs=arguments.runs,
        say=say,
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "importance.json").write_text(report.model_dump_json(indent=2) + "\n")
    importance_plot.draw(report, arguments.output / "importance.png")
    if arguments.json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    console.print(_table(report))
    console.print(f"saved {arguments.output}; open {arguments.output / 'importance.png'}")
    return 0


def _yardstick(
    arguments: argparse.Namespace, videos: "Videos | None", engine: "Engine", say: Callable[[str], None]
) -> "Yardstick":
    from vdmini_compress.suites.comparison import Instruments
    from vdmini_compress.suites.features import I3D, LatentFrames
    from vdmini_compress.suites.video_yardstick import video_yardstick
    from vdmini_compress.videos.sources import list_films
    from vdmini_compress.yardstick import SmallWorldYardstick

    if videos is None:
        return SmallWorldYardstick(engine, clips=arguments.clips, seed=arguments.seed)
    i3d = I3D(arguments.i3d, device=engine.torch_device) if arguments.i3d else None
    return video_yardstick(
        engine,
        list_films(videos),
        data=videos.path.resolve().name,
        instruments=Instruments(i3d=i3d, frames=LatentFrames(engine)),
        clips=arguments.clips,
        seed=arguments.seed,
        say=say,
    )


def _table(report: "ImportanceReport") -> Table:
    table = Table(
        title=f"{report.teacher.id}: {report.clips} clips of {report.data}, "
        f"a pass takes {1000 * report.forward_seconds:.1f} ms",
        caption=f"content: {report.content.label}; motion: {report.motion.label}",
    )
    lost = ("content lost", "motion lost", *(("FVD lost",) if report.fvd is not None else ()))
    for heading in ("block off", *lost, "saved (ms)", "parameters"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for block in report.blocks:
        low, high = (1000 * value for value in block.seconds_saved_interval)
        saved = f"{1000 * block.seconds_saved:.1f} ({low:.1f} to {high:.1f})"
        table.add_row(block.label, *_lost(block), saved, f"{block.parameters:,}")
    return table


def _lost(block: "BlockImportance") -> list[str]:
    values = (block.content_lost, block.motion_lost, block.fvd_lost)
    return [f"{value:+.4g}" for value in values if value is not None]
