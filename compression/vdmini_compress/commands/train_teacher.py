"""`vdmini-compress train-teacher`: the small teachers from nothing."""

import argparse
import os
from pathlib import Path

from rich.console import Console

from vdmini_compress.commands.numbers import LEAST_CLIPS, at_least

NAME = "train-teacher"
HELP = "train a small teacher from nothing (an hour or more on two cores)"
EXAMPLES = """\
{prog} small-i2v --output runs/teacher
{prog} small-i2v --output runs/finished --start-from runs/teacher --finish 2000 --device cuda:0
"""
RESUMES = True
"""Whether the same command goes on where it was stopped."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", choices=["small-i2v", "small-svd", "small-t2v"], help="which teacher")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
    parser.add_argument("--start-from", type=Path, metavar="DIR", help="train on from this earlier teacher's weights")
    parser.add_argument("--fresh-denoiser", action="store_true", help="with --start-from: keep the VAE alone")
    parser.add_argument(
        "--finish",
        type=at_least(1),
        metavar="STEPS",
        help="with --start-from, small-i2v: train its U-Net alone, in pixels (for a GPU)",
    )
    parser.add_argument(
        "--processes",
        type=at_least(0),
        default=drawing_processes(),
        help="that draw clips for --finish (default: the cores but two, six at most)",
    )
    parser.add_argument("--device", default=None, help="such as cuda:0; the first GPU, else the CPU, by default")
    parser.add_argument(
        "--clips", type=at_least(LEAST_CLIPS), default=200, help="held-out clips for its model card (default 200)"
    )


def drawing_processes() -> int:
    """How many processes draw clips where nothing is said: two cores are left to the trainer, and six are enough."""
    return max(0, min(6, (os.cpu_count() or 1) - 2))


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini_compress.teachers.card import make_teacher
    from vdmini_compress.teachers.finishing import Finish
    from vdmini_compress.teachers.train import Start

    start = Start(arguments.start_from, not arguments.fresh_denoiser) if arguments.start_from else None
    finish = Finish(arguments.finish, processes=arguments.processes) if arguments.finish else None
    make_teacher(
        arguments.name,
        arguments.output.absolute(),
        device=arguments.device,
        clips=arguments.clips,
        say=lambda line: console.print(line, markup=False),
        start=start,
        finish=finish,
    )
    return 0
