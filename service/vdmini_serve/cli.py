"""The command `vdmini-serve`. Parsing and exit codes; `commands` has one module for each command."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from vdmini.command_line import Parser, add_completion, add_version, completion_script
from vdmini_serve.commands import (
    CommandError,
    api,
    capacity,
    generate,
    healthcheck,
    keys,
    up,
    verify,
    worker,
)
from vdmini_serve.contract.request import EXAMPLE_PROMPT

EXAMPLES = f"""\
{{prog}} up                                          # in one terminal
{{prog}} generate --image cat.png -o cat.mp4         # in another
{{prog}} generate --image cat.png -o slow.mp4 --variant teacher
{{prog}} generate --prompt "{EXAMPLE_PROMPT}" -o circle.mp4
"""
COMMANDS = (up, generate, keys, api, worker, verify, healthcheck, capacity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 when all went well, 1 when something failed, 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_left()
    except CommandError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(
            f"`{options.command}` needs the package {error.name}, which is not installed here: each part of "
            "the service has an extra and an image of its own (pip install 'vdmini[api]', 'vdmini[worker]')"
        )
    except ValidationError as error:
        wrong = (f"VDMINI_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        return _fail(f"wrong setting in the environment: {'; '.join(wrong)}")


def make_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(
        prog="vdmini-serve",
        description="Serve compressed video diffusion models (VDMinis) beside their uncompressed teachers.",
        examples=EXAMPLES,
    )
    add_version(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for each in COMMANDS:
        command = commands.add_parser(each.NAME, help=each.HELP, description=each.DESCRIPTION, examples=each.EXAMPLES)
        each.add(command)
        command.set_defaults(run=each.run, command=each.NAME)
    add_completion(commands).set_defaults(run=_completion, command="completion")
    return parser


def _completion(options: argparse.Namespace) -> int:
    try:
        sys.stdout.write(completion_script(make_parser(), options.shell) + "\n")
    except ValueError as error:
        raise CommandError(str(error)) from error
    return 0


def _reader_left() -> int:
    """Whoever read our output has ended, as `head` does; the interpreter must not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"vdmini-serve: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
