"""`vdmini-serve up`: everything on this machine."""

import argparse
import os
from pathlib import Path

from vdmini_serve.commands import CommandError
from vdmini_serve.commands.address import add_address

NAME = "up"
HELP = "start everything on this machine: Redis, a worker, the API"
DESCRIPTION = "Start Redis, a worker and the API on this machine, until Ctrl-C. Nothing is kept afterwards."
EXAMPLES = """\
{prog}
{prog} --artifact compression/artifacts/small-i2v --artifact compression/teachers/small-i2v --port 8080
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--artifact",
        dest="artifacts",
        metavar="DIR",
        type=Path,
        action="append",
        help="folder of a model to serve; repeat it for more. Default: VDMINI_ARTIFACTS, else the small models of the "
        "repository with their teachers",
    )
    add_address(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from vdmini.artifact import ArtifactError  # the API image cannot load models
    from vdmini_serve.embedded import StartError
    from vdmini_serve.up import default_artifacts, up

    from_environment = [Path(part) for part in os.environ.get("VDMINI_ARTIFACTS", "").split(os.pathsep) if part]
    artifacts = options.artifacts or from_environment or default_artifacts()
    try:
        return up(artifacts, host=options.host, port=options.port)
    except (StartError, ArtifactError) as error:
        raise CommandError(str(error)) from error
