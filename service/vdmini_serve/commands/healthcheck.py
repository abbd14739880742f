"""`vdmini-serve healthcheck`: whether the worker of this machine lives."""

import argparse
import sys

from vdmini_serve.commands import CommandError

NAME = "healthcheck"
HELP = "whether the worker of this machine lives and consumes"
DESCRIPTION = "Whether the worker of this machine lives and consumes; reads VDMINI_HEARTBEAT_FILE."
EXAMPLES = """\
{prog}           # for a liveness probe
{prog} --ready   # for a readiness probe
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--ready", action="store_true", help="also ask that it takes jobs now")


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.health import UnhealthyError, check
    from vdmini_serve.worker.heartbeat import NoHeartbeatError

    try:
        beat = check(Settings(), ready=options.ready)
    except (UnhealthyError, NoHeartbeatError) as error:
        raise CommandError(f"the worker is {'not ready' if options.ready else 'not well'}: {error}") from error
    sys.stdout.write(f"{beat.state}\n")
    return 0
