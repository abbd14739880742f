"""The options of commands that can work on real videos instead of the small world."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vdmini_compress.videos.settings import Videos

SOURCES = ("folder", "openvid", "ucf101")


def add_videos(parser: argparse.ArgumentParser, description: str) -> "argparse._ArgumentGroup":
    """Declare `--videos`, `--source` and `--captions`.

    Returns:
        Their group, for options of the command's own that belong to them.
    """
    group = parser.add_argument_group("real videos", description)
    group.add_argument("--videos", type=Path, metavar="DIR", help="their folder, nested or not")
    group.add_argument("--source", choices=SOURCES, help="how they and their captions are laid out (default folder)")
    group.add_argument("--captions", type=Path, metavar="FILE", help="their table, where it isn't found by its name")
    return group


def videos_from(arguments: argparse.Namespace, *belonging: str, held_out: float = 0.0) -> "Videos | None":
    """The videos that the arguments name; None when there are none.

    Args:
        arguments: what `add_videos` declared.
        belonging: further arguments that mean nothing without videos.
        held_out: share of the films that are held out.

    Raises:
        ValueError: when an argument that belongs to videos is given without them.
    """
    from vdmini_compress.videos.settings import Videos

    if arguments.videos is not None:
        source = arguments.source or "folder"
        return Videos(source=source, path=arguments.videos, captions=arguments.captions, held_out=held_out)
    given = [f"--{name}" for name in ("source", "captions", *belonging) if getattr(arguments, name) is not None]
    if given:
        raise ValueError(f"{', '.join(given)} belongs to real videos; give their folder with --videos")
    return None
