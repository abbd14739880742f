"""`vdmini-compress adopt`: a published diffusers folder becomes a teacher."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from vdmini.families import FAMILY_NAMES
from vdmini_compress.commands.numbers import at_least

NAME = "adopt"
HELP = "make a teacher of a diffusers folder: its weights in float16, and what VDMini has to know of it"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, metavar="DIR", help="the folder, as published")
    parser.add_argument("--family", required=True, choices=FAMILY_NAMES, help="what kind of teacher it is")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
    parser.add_argument("--name", help="of the teacher; by default that of its folder")
    parser.add_argument("--licence", required=True, help="of the weights, such as CC-BY-NC-4.0")
    form = parser.add_argument_group("its clips", "By default those of the family's published teacher.")
    form.add_argument("--width", type=at_least(1), help="in pixels")
    form.add_argument("--height", type=at_least(1), help="in pixels")
    form.add_argument("--num-frames", type=at_least(1), help="of a clip")
    form.add_argument("--fps", type=at_least(1), help="frames per second where a request is silent")
    form.add_argument("--num-inference-steps", type=at_least(1), help="denoising steps, this number and no other")
    form.add_argument("--guidance-scale", type=float, help="where a request is silent; 1 is no guidance")
    parser.add_argument("--json", action="store_true", help="print the teacher's vdmini.json on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini.families import family_named
    from vdmini_compress.adoption import Form, adopt

    form = Form(
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.num_frames,
        fps=arguments.fps,
        num_inference_steps=arguments.num_inference_steps,
        guidance_scale=arguments.guidance_scale,
    )
    output, family = arguments.output.absolute(), family_named(arguments.family)
    name = arguments.name or output.name
    manifest = adopt(arguments.source, family, output, name=name, licence=arguments.licence, form=form)
    if arguments.json:
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
    millions = manifest.cost.unet_parameters / 1e6
    console.print(f"saved {arguments.output}: a {manifest.task} teacher, its U-Net of {millions:,.1f} M parameters")
    return 0
