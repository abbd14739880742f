"""What `vdmini-compress` and `vdmini-serve` share as commands: help with examples, one-line errors, completion."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

EXIT_CODES = "exit codes: 0 all went well, 1 something failed, 2 wrong arguments, 130 stopped with Ctrl-C"
SHELLS = ("bash", "zsh")
COMPLETION_EXAMPLES = """\
eval "$({prog} bash)"                            # in this shell; in ~/.bashrc for every new one
{prog} bash > ~/.local/share/bash-completion/completions/{command}
{prog} zsh > "${{fpath[1]}}/_{command}"
"""


class Help(argparse.HelpFormatter):
    """Wraps text, but leaves the examples as they are."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 28, **options})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An argument parser whose help ends with examples, and whose errors are one line.

    Args:
        examples: command lines, one a line; `{prog}` is the command. A comment may follow behind ` # `.
        **options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, *, examples: str = "", **options: Any) -> None:
        options.setdefault("formatter_class", Help)
        super().__init__(**options)
        self.examples = examples.format(prog=self.prog, command=self.prog.split()[0]).strip()
        if self.examples:
            shown = "examples:\n" + "".join(f"  {line}\n" for line in self.examples.splitlines())
            self.epilog = f"{shown}\n{self.epilog or EXIT_CODES}"

    def error(self, message: str) -> Never:
        """Say what is wrong in one line and end with exit code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help tells more)\n")


class Version(argparse.Action):
    """`--version`; the version is looked up when somebody asks, since that takes longer than parsing."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Print it and end."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("vdmini")
        except PackageNotFoundError:
            found = "(not installed)"
        sys.stdout.write(f"{parser.prog} {found}\n")
        parser.exit()


def add_version(parser: argparse.ArgumentParser) -> None:
    """Declare `--version`."""
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and end")


def add_completion(commands: "argparse._SubParsersAction[Parser]") -> argparse.ArgumentParser:
    """Declare `completion SHELL`, which `completion_script` carries out."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes this command's arguments in a shell",
        description="Print a script with which a shell completes commands, options, choices and file names.",
        examples=COMPLETION_EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS, help="which one")
    return parser


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script with which a shell completes a command.

    Raises:
        ValueError: when the package that writes it is missing.
    """
    try:
        import shtab
    except ImportError as error:
        raise ValueError("completion needs the package shtab: pip install shtab") from error
    for each in every_parser(parser):
        for action in each._actions:  # argparse has no public list
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own way to ask for it
    return str(shtab.complete(parser, shell=shell))


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands, in their order."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from every_parser(command)


def example_arguments(parser: Parser) -> list[list[str]]:
    """The examples' lines of this very command as argument lists, without what a shell does around them."""
    command = parser.prog.split()[0]
    lines = [line.replace('eval "$(', "").replace(')"', "") for line in parser.examples.splitlines()]
    words = [shlex.split(line.split(" > ")[0], comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0] == command]
