"""`vdmini-compress plan`: a dry run without weights."""

import argparse

from rich.console import Console

from vdmini.families import FAMILY_NAMES
from vdmini_compress.commands.numbers import at_least

NAME = "plan"
HELP = "show what a plan removes and what it leaves, without loading weights"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    families = ", ".join(FAMILY_NAMES)
    parser.add_argument("model", metavar="MODEL", help=f"a family ({families}), or the folder of a teacher")
    parser.add_argument(
        "--plan", nargs="+", default=["paper"], metavar="NAME", help="a preset (paper, all-pairs, none) or blocks"
    )
    parser.add_argument("--width", type=at_least(1), default=None, help="in pixels; the model's own by default")
    parser.add_argument("--height", type=at_least(1), default=None)
    parser.add_argument("--num-frames", type=at_least(1), default=None)
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")


def run(arguments: argparse.Namespace, _: Console) -> int:
    """Carry it out."""
    from vdmini_compress.planning import run_plan

    chosen = arguments.plan[0] if len(arguments.plan) == 1 else arguments.plan
    return run_plan(
        arguments.model,
        chosen,
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.num_frames,
        as_json=arguments.json,
    )
