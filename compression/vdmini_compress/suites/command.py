"""The suites on a command line: their arguments, and what `vdmini-compress evaluate --suite NAME` does.

The caller declares what all suites share: `artifact`, `suite`, `clips`, `seed` and `json`.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vdmini_compress.commands.numbers import at_least

if TYPE_CHECKING:
    from vdmini.engine import Engine
    from vdmini_compress.suites.intervals import Estimate
    from vdmini_compress.suites.report import SuiteReport
    from vdmini_compress.suites.vbench_scores import Place

SUITES = ("ucf101", "vbench", "vbench-i2v")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what only these suites take."""
    parser.add_argument("--output", type=Path, metavar="DIR", help="where generated videos stay; a run resumes there")
    clips = parser.add_argument_group("suite ucf101")
    clips.add_argument("--videos", type=Path, metavar="DIR", help="UCF101's videos, or any folder of videos")
    clips.add_argument("--i3d", type=Path, metavar="FILE", help="I3D as TorchScript, for FVD (i3d_torchscript.pt)")
    prompts = parser.add_argument_group("suites vbench and vbench-i2v")
    prompts.add_argument("--prompts", type=Path, metavar="FILE", help="prompt list in VBench's form; VBench's own else")
    prompts.add_argument(
        "--images", type=Path, metavar="DIR", help="first frames: VBench-I2V's data/crop, or any folder"
    )
    prompts.add_argument("--dimension", action="append", default=[], help="only prompts of this dimension; repeatable")
    prompts.add_argument("--limit", type=at_least(1), metavar="N", help="only the first N prompts")
    prompts.add_argument("--samples", type=at_least(1), metavar="N", help="videos per prompt (default: as VBench asks)")
    prompts.add_argument(
        "--vbench-python", type=Path, metavar="FILE", help="interpreter that has VBench (default: this)"
    )
    prompts.add_argument("--vbench-root", type=Path, metavar="DIR", help="VBench's repository")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry one suite out and print its report."""
    from vdmini.engine import load_engine

    if arguments.output is None:
        raise ValueError(f"suite {arguments.suite} keeps its videos; give a folder for them with --output")
    suite = _ucf101 if arguments.suite == "ucf101" else _vbench
    report = suite(load_engine(arguments.artifact), arguments, console)
    if arguments.json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        _print(report, console)
    return 0


def _ucf101(engine: "Engine", arguments: argparse.Namespace, console: Console) -> "SuiteReport":
    from vdmini_compress.suites import ucf101
    from vdmini_compress.suites.comparison import Instruments
    from vdmini_compress.suites.features import I3D, LatentFrames
    from vdmini_compress.suites.real_videos import FolderClips
    from vdmini_compress.videos.settings import ClipForm

    if arguments.videos is None:
        raise ValueError("suite ucf101 compares with real videos; give their folder with --videos")
    i3d = I3D(arguments.i3d, device=engine.torch_device) if arguments.i3d else None
    width, height = ucf101.compared_size(engine)
    real = FolderClips(arguments.videos, ClipForm(width=width, height=height, **ucf101.protocol_settings(engine)))
    report = ucf101.evaluate(
        engine,
        real,
        instruments=Instruments(i3d=i3d, frames=LatentFrames(engine)),
        count=arguments.clips,
        seed=arguments.seed,
        output=arguments.output,
        say=_speaker(console),
    )
    console.print(real.skipped.report(), markup=False)
    return report


def _vbench(engine: "Engine", arguments: argparse.Namespace, console: Console) -> "SuiteReport":
    from vdmini_compress.suites import vbench
    from vdmini_compress.suites.output import ClipFolder
    from vdmini_compress.suites.report import report_of
    from vdmini_compress.suites.vbench_scores import Place

    suite, place = arguments.suite, Place(arguments.vbench_python or Path(sys.executable), arguments.vbench_root)
    known = vbench.read_prompts(_prompt_list(arguments, place))
    prompts = vbench.chosen(known, dimensions=arguments.dimension, limit=arguments.limit)
    images, ratio = _images(arguments, engine) if suite == vbench.IMAGE else (None, None)
    vbench.check(engine, prompts, images)
    folder = ClipFolder(arguments.output, engine, suite=suite, seed=arguments.seed, settings={})
    count = vbench.write_videos(folder, prompts, images=images, samples=arguments.samples, say=_speaker(console))
    dimensions = vbench.dimensions_of(prompts, arguments.dimension)
    measures, notes = _scores(arguments, place, dimensions, ratio)
    if len(prompts) < len(known) or arguments.samples:
        notes.insert(
            0, f"{count} videos of {len(prompts)} of {len(known)} prompts: not comparable with published totals"
        )
    return report_of(suite, folder, videos=count, measures=measures, notes=tuple(notes))


def _prompt_list(arguments: argparse.Namespace, place: "Place") -> Path:
    path: Path | None = arguments.prompts or place.prompt_list(arguments.suite)
    if path is None:
        raise ValueError(
            f"suite {arguments.suite} needs its prompts: give --prompts FILE, or VBench's repository with --vbench-root"
        )
    return path


def _images(arguments: argparse.Namespace, engine: "Engine") -> tuple[Path, str]:
    from vdmini_compress.suites import vbench, vbench_scores

    images: Path | None = arguments.images
    if images is None and arguments.vbench_root:
        images = arguments.vbench_root / vbench_scores.IMAGES
    if images is None:
        raise ValueError(
            "suite vbench-i2v needs first frames: give --images DIR, or VBench's repository with --vbench-root"
        )
    return vbench.image_folder(images, engine)


def _scores(
    arguments: argparse.Namespace, place: "Place", dimensions: tuple[str, ...], ratio: str | None
) -> "tuple[dict[str, Estimate], list[str]]":
    """What VBench says of the videos, and what a reader must do or know."""
    from vdmini_compress.suites import vbench, vbench_scores

    now = vbench_scores.scorable(dimensions)
    script = vbench_scores.write_script(arguments.suite, arguments.output, now, ratio=ratio)
    notes = [vbench_scores.sifting(script)] if vbench.FLICKERING in dimensions else []
    if not now:
        return {}, notes
    if place.package_folder(arguments.suite) is None:
        return {}, [*notes, vbench_scores.instructions(place, arguments.suite, script)]
    return vbench_scores.score(place, arguments.suite, script, seed=arguments.seed), notes


def _speaker(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, markup=False)


def _print(report: "SuiteReport", console: Console) -> None:
    table = Table(title=f"{report.model}, suite {report.suite}: {report.videos} videos, seed {report.seed}")
    for heading in ("measure", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, found in report.measures.items():
        between = "" if found.interval is None else "{:.4f} to {:.4f}".format(*found.interval)
        table.add_row(name, f"{found.value:.4f}", between)
    if report.measures:
        console.print(table)
    for note in report.notes:
        console.print(note, markup=False)
    console.print(f"videos: {report.folder}", markup=False)
