"""`vdmini-compress`: the command line of the job. Its commands live in `vdmini_compress.commands`."""

import argparse
import errno
import os
import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from vdmini.artifact import ArtifactError
from vdmini.plan import PlanError
from vdmini_compress.bench import command as bench
from vdmini_compress.commands import (
    analyze,
    evaluate,
    import_model,
    plan,
    prune,
    run,
    single_forward,
    train_teacher,
)
from vdmini_compress.decoder import command as decoder
from vdmini_compress.guards import CollapseError
from vdmini_compress.recipe import RecipeError

Command = Callable[[argparse.Namespace, Console], int]

COMMANDS = (import_model, run, plan, analyze, prune, single_forward, decoder, evaluate, bench, train_teacher)


def main(argv: list[str] | None = None) -> int:
    """Run a command; errors that a user can mend become one line and exit code 1."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torchvision is missing; we need none
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    command: Command = arguments.command
    try:
        return command(arguments, console)
    except (ArtifactError, PlanError, RecipeError, ValueError, FloatingPointError, CollapseError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
    except OSError as error:
        full = (
            " (the disk is full: free some space and run the same command again)" if error.errno == errno.ENOSPC else ""
        )
        console.print(f"error: {error}{full}", markup=False)
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to resume")
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vdmini-compress", description="Compress a video diffusion model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add(command)
        command.set_defaults(command=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
