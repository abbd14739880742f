"""`vdmini-compress plan`: a dry run without weights."""

import argparse
from pathlib import Path

from rich.console import Console

from vdmini.families import FAMILY_NAMES
from vdmini_compress.commands.numbers import at_least

NAME = "plan"
HELP = "show what a plan removes and leaves, and what a recipe takes of memory, time and disk, without loading weights"
EXAMPLES = """\
{prog} svd --plan paper
{prog} videocrafter2 --plan all-pairs --json
{prog} compression/teachers/small-i2v --plan down_blocks.2.resnets.1
{prog} compression/recipes/svd-i2v.yaml --processes 8
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    families = ", ".join(FAMILY_NAMES)
    parser.add_argument(
        "model", metavar="MODEL", help=f"a recipe (.yaml), a family ({families}), or the folder of a teacher"
    )
    parser.add_argument(
        "--plan", nargs="+", default=["paper"], metavar="NAME", help="a preset (paper, all-pairs, none) or blocks"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of a recipe, as `run` takes it"
    )
    parser.add_argument("--tflops", type=float, default=None, help="of a recipe: assumed speed of training, TFLOP/s")
    parser.add_argument("--processes", type=at_least(1), default=1, help="of a recipe: how many train together")
    parser.add_argument("--width", type=at_least(1), default=None, help="in pixels; the model's own by default")
    parser.add_argument("--height", type=at_least(1), default=None)
    parser.add_argument("--num-frames", type=at_least(1), default=None)
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")


def run(arguments: argparse.Namespace, _: Console) -> int:
    """Carry it out."""
    if arguments.model.endswith((".yaml", ".yml")):
        return _run_recipe(arguments)
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


def _run_recipe(arguments: argparse.Namespace) -> int:
    from vdmini_compress.estimate import TFLOPS
    from vdmini_compress.recipe_planning import run_recipe_plan

    return run_recipe_plan(
        Path(arguments.model),
        arguments.set,
        tflops=arguments.tflops or TFLOPS,
        processes=arguments.processes,
        as_json=arguments.json,
    )
