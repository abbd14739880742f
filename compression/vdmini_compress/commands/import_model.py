"""`vdmini-compress import`: third-party checkpoints become teachers."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from vdmini.manifest import Manifest

NAME = "import"
HELP = "make a teacher of published weights: Stable Video Diffusion, or T2V-Turbo-v2 on VideoCrafter2"


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    families = parser.add_subparsers(required=True, metavar="FAMILY", dest="family")
    svd = families.add_parser("svd", help="image to video: SVD, SVD-XT", description="Import Stable Video Diffusion.")
    svd.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="a diffusers folder, or a hub id such as stabilityai/stable-video-diffusion-img2vid",
    )
    crafter = families.add_parser(
        "videocrafter2",
        help="text to video: T2V-Turbo-v2 on VideoCrafter2",
        description="Import T2V-Turbo-v2: its U-Net, and VideoCrafter2's VAE and text encoder.",
    )
    crafter.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="VideoCrafter2's model.ckpt")
    crafter.add_argument("--unet", type=Path, metavar="FILE", help="T2V-Turbo-v2's unet_mg.pt or unet_no_mg.pt")
    crafter.add_argument(
        "--tokenizer",
        metavar="WHERE",
        help="a folder with CLIP's vocab.json and merges.txt, or a hub id (default openai/clip-vit-large-patch14)",
    )
    for family in (svd, crafter):
        family.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
        family.add_argument("--json", action="store_true", help="print the teacher's vdmini.json on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    manifest = _imported(arguments, lambda line: console.print(line, markup=False))
    if arguments.json:
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
    console.print(
        f"saved {arguments.output}: {manifest.name}, U-Net of {manifest.cost.unet_parameters / 1e6:,.1f}M parameters, "
        f"{manifest.cost.total_bytes / 1e9:.2f} GB in float16",
        markup=False,
    )
    console.print(f"licence: {manifest.teacher.licence}", markup=False)
    return 0


def _imported(arguments: argparse.Namespace, say: Callable[[str], None]) -> "Manifest":
    output = arguments.output.absolute()
    if arguments.family == "svd":
        from vdmini_compress.importing.svd import import_svd

        return import_svd(arguments.model, output, say=say)
    from vdmini_compress.importing.tokenizer import TOKENIZER
    from vdmini_compress.importing.videocrafter2 import import_videocrafter2

    return import_videocrafter2(
        arguments.checkpoint, output, unet=arguments.unet, tokenizer=arguments.tokenizer or TOKENIZER, say=say
    )
