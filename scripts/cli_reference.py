"""Write docs/cli.md: every command with its arguments and examples, from the parsers themselves.

python scripts/cli_reference.py [--check]
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import vdmini_compress.cli
import vdmini_serve.cli
from vdmini.command_line import EXIT_CODES, Parser, every_parser

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
HEAD = f"""# Commands

`scripts/cli_reference.py` writes this page from the parsers; `COMMAND --help` says the same in a terminal.

{EXIT_CODES[0].upper()}{EXIT_CODES[1:]}. What is wrong is said in one line on standard
error. With `--json` standard output has the result and nothing else. Progress and colours are for terminals only, and
`NO_COLOR=1` turns colours off there, too.

`eval "$(vdmini-serve completion bash)"` makes a shell complete arguments; `completion` is there for both commands, and
for zsh.
"""


def page() -> str:
    """The whole page."""
    commands = (vdmini_serve.cli.make_parser(), vdmini_compress.cli.make_parser())
    return HEAD + "".join(_section(parser) for command in commands for parser in every_parser(command))


def _section(parser: argparse.ArgumentParser) -> str:
    level = "##" if " " not in parser.prog else "###"
    parts = [f"\n{level} {parser.prog}\n", f"{_sentence(parser.description or '')}\n"]
    rows = list(_rows(parser))
    if rows:
        parts.append("| argument | what it is |\n|---|---|\n" + "".join(rows))
    if isinstance(parser, Parser) and parser.examples:
        parts.append(f"```\n{parser.examples}\n```\n")
    return "\n".join(parts)


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:  # argparse has no public list
        if group.description:
            yield f"| *{group.title}* | *{_cell(group.description)}* |\n"
        for action in group._group_actions:
            if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
                yield f"| {_cell(_form(action))} | {_cell(_help(parser, action))} |\n"


def _form(action: argparse.Action) -> str:
    """An argument as it is typed, such as `--seed N`."""
    value = "" if action.nargs == 0 else f" {_value(action)}"
    typed = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{_value(action)}`"
    return f"{typed}, needed" if action.required and action.option_strings else typed


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper().replace("_", "-")
    return f"{name} ..." if action.nargs in ("+", "*") else name


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": parser.prog}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def main() -> int:
    """Write the page, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is what it should be")
    if parser.parse_args().check:
        return 0 if TARGET.exists() and TARGET.read_text() == page() else 1
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
