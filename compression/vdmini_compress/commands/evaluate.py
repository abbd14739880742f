"""`vdmini-compress evaluate`: how good one artifact's clips are, on the small world or on a suite of the field."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vdmini_compress.commands.numbers import LEAST_CLIPS, at_least
from vdmini_compress.suites import command as suites

NAME = "evaluate"
HELP = "measure content and motion: on held-out clips of the small world, on UCF101 or any videos, or with VBench"
EXAMPLES = """\
{prog} compression/artifacts/small-t2v --clips 8 --json
{prog} runs/mine --suite ucf101 --videos UCF-101 --i3d i3d_torchscript.pt --output runs/ucf101
{prog} runs/mine --suite vbench --limit 10 --output runs/vbench
"""
RESUMES = True
"""Whether the same command goes on where it was stopped: the suites do, in `--output`."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("artifact", type=Path, metavar="DIR", help="a teacher or a student")
    parser.add_argument("--suite", choices=("small", *suites.SUITES), default="small", help="(default small)")
    parser.add_argument("--clips", type=at_least(LEAST_CLIPS), default=64, help="how many (default 64)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="picks the clips and seeds the noise (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")
    suites.add_arguments(parser)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    if arguments.suite != "small":
        return suites.run(arguments, console)
    from vdmini.engine import load_engine
    from vdmini_compress.evaluate import estimates

    measured = estimates(load_engine(arguments.artifact), count=arguments.clips, seed=arguments.seed)
    if arguments.json:
        asked = {"suite": "small", "clips": arguments.clips, "seed": arguments.seed}
        plain = {name: estimate.model_dump() for name, estimate in measured.items()}
        sys.stdout.write(json.dumps(asked | {"measures": plain}, indent=2) + "\n")
        return 0
    table = Table(title=f"{arguments.artifact}: {arguments.clips} held-out clips, seed {arguments.seed}")
    for heading in ("measure", "value", "95 % interval"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for name, estimate in measured.items():
        low, high = estimate.interval or (estimate.value, estimate.value)
        table.add_row(name, f"{estimate.value:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(table)
    return 0
