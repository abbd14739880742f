"""`vdmini-compress single-forward`: a teacher that answers in one forward pass, from a multi-step one."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

NAME = "single-forward"
HELP = "make a single-forward teacher (SF-V) from a multi-step image-to-video model"
EXAMPLES = """\
{prog} compression/recipes/small-single-forward.yaml --output runs/single-forward
"""
RESUMES = True
"""Whether the same command goes on where it was stopped."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    recipe = "such as compression/recipes/small-single-forward.yaml"
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help=recipe)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as distill.steps=800")
    parser.add_argument("--json", action="store_true", help="print the teacher's vdmini.json on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini_compress.recipe import load_recipe
    from vdmini_compress.single_forward import SingleForward

    recipe = load_recipe(arguments.recipe, arguments.set)
    job = SingleForward(recipe, arguments.output.absolute(), lambda line: console.print(line, markup=False))
    manifest = job.run()
    if manifest is None:  # the first process says what there is to say
        return 0
    if arguments.json:
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
    made_from = manifest.training["made_from"]
    console.print(f"{made_from['num_inference_steps']} steps -> 1 step")
    for measure, value in manifest.quality["teacher"].items():
        console.print(f"  {measure}: {made_from['quality'][measure]:.4f} -> {value:.4f}", markup=False)
    console.print(f"saved {arguments.output}")
    return 0
