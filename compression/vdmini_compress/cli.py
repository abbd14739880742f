"""`vdmini-compress`: the command line of the job. Its commands live in `vdmini_compress.commands`."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from types import ModuleType

from rich.console import Console
from rich.markup import escape

from vdmini.command_line import EXIT_CODES, Parser, add_completion, add_version, completion_script
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

Command = Callable[[argparse.Namespace, Console], int]

COMMANDS: tuple[ModuleType, ...] = (
    *(import_model, run, plan, analyze, prune, single_forward, decoder, evaluate, bench, train_teacher),
)
EXAMPLES = """\
{prog} plan svd --plan paper                                              # what would go, without weights
{prog} run compression/recipes/small-i2v.yaml --output runs/small-i2v     # minutes, on any machine
{prog} evaluate runs/small-i2v
{prog} import svd --model stabilityai/stable-video-diffusion-img2vid --output teachers/svd
"""
EPILOG = f"A command that was stopped says whether it goes on when it is run again.\n{EXIT_CODES}"


def main(argv: list[str] | None = None) -> int:
    """Run a command; errors that a user can mend become one line and exit code 1."""
    arguments = make_parser().parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torchvision is missing; we need none
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    command: Command = arguments.command
    try:
        code = command(arguments, console)
        _leave_the_others()
        return code
    except BrokenPipeError:  # whoever read our output has ended, as `head` does; nothing must be flushed into it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        console.print(_stopped(arguments))
        return 130
    except Exception as error:
        message = _mendable(error)
        if message is None:
            raise
        console.print(f"[red]error:[/] {escape(message)}")
    return 1


def _leave_the_others() -> None:
    """Close what joins `torchrun`'s processes: one that ends while gloo's threads run may abort, and start again."""
    distributed = sys.modules.get("torch.distributed")  # a command that trains has imported it
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _mendable(error: Exception) -> str | None:
    """What to tell of an error that a user can mend; None for any other, which is a bug and shows its traceback."""
    from vdmini.artifact import ArtifactError
    from vdmini_compress.guards import CollapseError
    from vdmini_compress.recipe import RecipeError

    if isinstance(error, OSError):
        full = " (the disk is full: free some space and run the same command again)"
        return f"{error}{full if error.errno == errno.ENOSPC else ''}"
    if isinstance(error, ArtifactError | RecipeError | ValueError | FloatingPointError | CollapseError):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        return f"the device has too little memory for this: {str(error).splitlines()[0]}"
    return None


def _stopped(arguments: argparse.Namespace) -> str:
    if arguments.resumes and arguments.output is not None:
        return "stopped; run the same command again to resume"
    return "stopped; nothing was saved. Run the same command again to start anew"


def make_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(
        prog="vdmini-compress", description="Compress a video diffusion model.", examples=EXAMPLES, epilog=EPILOG
    )
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP, examples=module.EXAMPLES)
        module.add(command)
        command.set_defaults(command=module.run, resumes=getattr(module, "RESUMES", False))
    add_completion(commands).set_defaults(command=_completion, resumes=False)
    return parser


def _completion(arguments: argparse.Namespace, _: Console) -> int:
    sys.stdout.write(completion_script(make_parser(), arguments.shell) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
