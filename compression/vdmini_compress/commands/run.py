"""`vdmini-compress run`: a recipe becomes an artifact."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vdmini.manifest import Manifest

NAME = "run"
HELP = "prune, heal, evaluate, measure and save: a recipe becomes an artifact"
EXAMPLES = """\
{prog} compression/recipes/small-i2v.yaml --output runs/small-i2v
{prog} compression/recipes/small-t2v.yaml --output runs/short --set distill.steps=200 --json
"""
RESUMES = True
"""Whether the same command goes on where it was stopped."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="such as compression/recipes/small-i2v.yaml")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the artifact goes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as distill.steps=800")
    parser.add_argument("--json", action="store_true", help="print the artifact's vdmini.json on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini_compress.job import Job
    from vdmini_compress.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    manifest = Job(recipe, arguments.output.absolute(), lambda line: console.print(line, markup=False)).run()
    if manifest is None:  # the first process says what there is to say
        return 0
    if arguments.json:
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
    console.print(_summary(manifest))
    console.print(f"saved {arguments.output}; open {arguments.output / 'report.html'}")
    return 0


def _summary(manifest: "Manifest") -> Table:
    timing = manifest.latency[0]
    table = Table(title=f"{manifest.name}: {timing.runs} runs in turn on {timing.device}, {timing.dtype}")
    for heading in ("", "teacher", "vdmini"):
        table.add_column(heading, justify="left" if not heading else "right")
    for stage, value in timing.seconds["teacher"].items():
        table.add_row(f"{stage} (ms)", f"{1000 * value:.1f}", f"{1000 * timing.seconds['vdmini'][stage]:.1f}")
    low, high = timing.speedup_interval
    table.add_row("speed-up", "1", f"{timing.speedup:.2f} ({low:.2f} to {high:.2f})")
    for measure, value in manifest.quality["teacher"].items():
        table.add_row(measure, f"{value:.3f}", f"{manifest.quality['vdmini'][measure]:.3f}")
    return table
