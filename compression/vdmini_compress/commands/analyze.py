"""`vdmini-compress analyze`: what each block of a teacher is worth."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vdmini_compress.commands.numbers import LEAST_CLIPS, at_least

if TYPE_CHECKING:
    from vdmini_compress.importance import ImportanceReport

NAME = "analyze"
HELP = "switch each block of a small teacher off once: what is lost, what is saved (minutes)"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("teacher", type=Path, metavar="TEACHER", help="such as compression/teachers/small-i2v")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for importance.json and .png")
    parser.add_argument("--clips", type=at_least(LEAST_CLIPS), default=16, help="held-out clips per block (default 16)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="picks the clips and seeds the noise (default 0)")
    parser.add_argument("--runs", type=at_least(20), default=20, help="paired forward passes per block (default 20)")
    parser.add_argument("--json", action="store_true", help="print importance.json on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini.engine import load_engine
    from vdmini_compress import importance, importance_plot
    from vdmini_compress.blocks import blocks_of
    from vdmini_compress.job import sample_input

    engine = load_engine(arguments.teacher)
    report = importance.analyze(
        engine,
        blocks_of(engine.pipeline.unet),
        sample_input(engine),
        clips=arguments.clips,
        seed=arguments.seed,
        runs=arguments.runs,
        say=lambda line: console.print(line, markup=False),
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "importance.json").write_text(report.model_dump_json(indent=2) + "\n")
    importance_plot.draw(report, arguments.output / "importance.png")
    if arguments.json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    console.print(_table(report))
    console.print(f"saved {arguments.output}; open {arguments.output / 'importance.png'}")
    return 0


def _table(report: "ImportanceReport") -> Table:
    table = Table(
        title=f"{report.teacher.id}: {report.clips} clips, a pass takes {1000 * report.forward_seconds:.1f} ms"
    )
    for heading in ("block off", "content lost", "motion lost (px)", "saved (ms)", "parameters"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for block in report.blocks:
        low, high = (1000 * value for value in block.seconds_saved_interval)
        saved = f"{1000 * block.seconds_saved:.1f} ({low:.1f} to {high:.1f})"
        lost = (f"{block.content_lost:+.4f}", f"{block.motion_lost:+.2f}")
        table.add_row(block.label, *lost, saved, f"{block.parameters:,}")
    return table
