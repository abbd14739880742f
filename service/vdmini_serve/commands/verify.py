"""`vdmini-serve verify`: artifacts held against their hashes."""

import argparse
import sys
from pathlib import Path

from vdmini_serve.commands import CommandError

NAME = "verify"
HELP = "check artifacts without loading them"
DESCRIPTION = "Check every file of artifacts against its hash, without loading them. Exit code 1 for a bad one."
EXAMPLES = """\
{prog} compression/artifacts/small-i2v
{prog}   # what VDMINI_ARTIFACTS and VDMINI_ARTIFACTS_DIR name
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    text = "folder of an artifact (default: what VDMINI_ARTIFACTS and VDMINI_ARTIFACTS_DIR name)"
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", help=text)


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.verification import configured, verify_all

    folders = options.folders or configured(Settings())
    if not folders:
        raise CommandError("no artifact to verify; give a FOLDER, or put one into VDMINI_ARTIFACTS_DIR")
    damaged = 0
    for folder, text, whole in verify_all(folders):
        (sys.stdout if whole else sys.stderr).write(f"{folder.name}: {'whole' if whole else 'REFUSED'}: {text}\n")
        damaged += not whole
    if damaged:
        raise CommandError(f"{damaged} of {len(folders)} artifacts are refused")
    return 0
