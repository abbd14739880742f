"""`vdmini-compress import`: third-party checkpoints become teachers."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vdmini.families import FAMILY_NAMES
from vdmini_compress.commands.numbers import at_least

if TYPE_CHECKING:
    from vdmini.command_line import Parser
    from vdmini.manifest import Manifest

    Families = argparse._SubParsersAction[Parser]

NAME = "import"
HELP = "make a teacher of published weights: SVD, T2V-Turbo-v2 on VideoCrafter2, or any family's diffusers folder"
EXAMPLES = """\
{prog} svd --model stabilityai/stable-video-diffusion-img2vid --output teachers/svd
{prog} videocrafter2 --checkpoint model.ckpt --unet unet_mg.pt --output teachers/t2v-turbo-v2
{prog} modelscope --model zeroscope_v2_576w --licence CC-BY-NC-4.0 --output teachers/zeroscope
"""


def add(parser: "Parser") -> None:
    """Declare the arguments."""
    families = parser.add_subparsers(required=True, metavar="FAMILY", dest="family")
    known = {"svd": _add_svd, "videocrafter2": _add_videocrafter2}
    for name in FAMILY_NAMES:
        declare = known.get(name, _add_folder)
        family = declare(families, name)
        family.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
        family.add_argument("--json", action="store_true", help="print the teacher's vdmini.json on standard output")


def _add_svd(families: "Families", name: str) -> argparse.ArgumentParser:
    parser = families.add_parser(
        name,
        help="image to video: SVD, SVD-XT",
        description="Import Stable Video Diffusion.",
        examples="{prog} --model stabilityai/stable-video-diffusion-img2vid --output teachers/svd",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="a diffusers folder, or a hub id such as stabilityai/stable-video-diffusion-img2vid",
    )
    parser.set_defaults(imported=_svd)
    return parser


def _add_videocrafter2(families: "Families", name: str) -> argparse.ArgumentParser:
    parser = families.add_parser(
        name,
        help="text to video: T2V-Turbo-v2 on VideoCrafter2",
        description="Import T2V-Turbo-v2: its U-Net, and VideoCrafter2's VAE and text encoder.",
        examples="{prog} --checkpoint model.ckpt --unet unet_mg.pt --output teachers/t2v-turbo-v2",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="VideoCrafter2's model.ckpt")
    parser.add_argument("--unet", type=Path, metavar="FILE", help="T2V-Turbo-v2's unet_mg.pt or unet_no_mg.pt")
    parser.add_argument(
        "--tokenizer",
        metavar="WHERE",
        help="a folder with CLIP's vocab.json and merges.txt, or a hub id (default openai/clip-vit-large-patch14)",
    )
    parser.set_defaults(imported=_videocrafter2)
    return parser


def _add_folder(families: "Families", name: str) -> argparse.ArgumentParser:
    """Any other family: what its published pipeline is saved as, taken as it is."""
    parser = families.add_parser(
        name,
        help=f"a diffusers folder of family {name}",
        description=f"Import a diffusers folder of family {name}.",
        examples="{prog} --model published --licence CC-BY-NC-4.0 --output teachers/mine",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the folder, as published")
    parser.add_argument("--name", help="of the teacher; by default that of its folder")
    parser.add_argument("--licence", required=True, help="of the weights, such as CC-BY-NC-4.0")
    form = parser.add_argument_group("its clips", "By default those of the family's published teacher.")
    form.add_argument("--width", type=at_least(1), help="in pixels")
    form.add_argument("--height", type=at_least(1), help="in pixels")
    form.add_argument("--num-frames", type=at_least(1), help="of a clip")
    form.add_argument("--fps", type=at_least(1), help="frames per second where a request is silent")
    form.add_argument("--num-inference-steps", type=at_least(1), help="denoising steps, this number and no other")
    form.add_argument("--guidance-scale", type=float, help="where a request is silent; 1 is no guidance")
    parser.set_defaults(imported=_folder)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    made: Manifest = arguments.imported(
        arguments, arguments.output.absolute(), lambda line: console.print(line, markup=False)
    )
    if arguments.json:
        sys.stdout.write(made.model_dump_json(indent=2) + "\n")
    console.print(
        f"saved {arguments.output}: {made.name}, U-Net of {made.cost.unet_parameters / 1e6:,.1f}M parameters, "
        f"{made.cost.total_bytes / 1e9:.2f} GB in float16",
        markup=False,
    )
    console.print(f"licence: {made.teacher.licence}", markup=False)
    return 0


def _svd(arguments: argparse.Namespace, output: Path, say: Callable[[str], None]) -> "Manifest":
    from vdmini_compress.importing.svd import import_svd

    return import_svd(arguments.model, output, say=say)


def _videocrafter2(arguments: argparse.Namespace, output: Path, say: Callable[[str], None]) -> "Manifest":
    from vdmini_compress.importing.tokenizer import TOKENIZER
    from vdmini_compress.importing.videocrafter2 import import_videocrafter2

    for path in filter(None, (arguments.checkpoint, arguments.unet)):
        if not path.is_file():
            raise ValueError(f"there is no file {path}; docs/import.md says which files are needed and where they are")
    return import_videocrafter2(
        arguments.checkpoint, output, unet=arguments.unet, tokenizer=arguments.tokenizer or TOKENIZER, say=say
    )


def _folder(arguments: argparse.Namespace, output: Path, _: Callable[[str], None]) -> "Manifest":
    from vdmini.families import family_named
    from vdmini_compress.importing.folder import Form, import_folder

    form = Form(
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.num_frames,
        fps=arguments.fps,
        num_inference_steps=arguments.num_inference_steps,
        guidance_scale=arguments.guidance_scale,
    )
    name, family = arguments.name or output.name, family_named(arguments.family)
    return import_folder(arguments.model, family, output, name=name, licence=arguments.licence, form=form)
