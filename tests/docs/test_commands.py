"""Every command in a document is run, or taken by its parser, or listed with the reason why not."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from classes import ELSEWHERE, NOT_RUN, RUN_BY, place_of
from documents import ROOT, Command, blocks, commands, documents

import vdmini_compress.cli
import vdmini_serve.cli

MAINS: dict[str, Callable[[list[str]], int]] = {
    "vdmini-compress": vdmini_compress.cli.main,
    "vdmini-serve": vdmini_serve.cli.main,
}
LAUNCHED = re.compile(r"^(?:torchrun|accelerate launch) .*?-m vdmini_compress\.cli (.*)$")
HERE = "tests/docs/test_commands.py"


class Parsed(Exception):
    """The parser took a command; nothing more is to happen."""


def taken(main: Callable[[list[str]], int], words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a command's parser takes its words."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, args: object = None, namespace: object = None) -> None:
        parse(self, args, namespace)  # type: ignore[call-overload]
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        try:
            main(words)
        except Parsed:
            return True
        except SystemExit as ended:
            return ended.code == 0
    return False


def script_of(command: Command) -> Path | None:
    """A script of the repository that a command runs."""
    words = command.words
    names = words[1:2] if words[0].startswith("python") else words[:1]
    return next((ROOT / name for name in names if name.endswith((".py", ".sh"))), None)


@pytest.mark.parametrize("document", documents())
def test_every_command_is_run_or_parsed_or_listed_with_a_reason(
    document: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = []
    if place_of(document, ELSEWHERE):
        return
    for command in commands(document):
        launched, (program, *words) = LAUNCHED.match(command.line), command.words
        if launched:
            program, words = "vdmini-compress", launched[1].split()
        if any(" ".join(command.words).startswith(prefix) for prefix in NOT_RUN):
            continue
        if program in MAINS:
            assert taken(MAINS[program], words, monkeypatch), f"{command}\n{capsys.readouterr().err}"
        elif not (command.runs and RUN_BY.get(document)) and not ((script := script_of(command)) and script.exists()):
            unknown.append(str(command))
    assert not unknown, f"run these in a test (`bash` blocks, RUN_BY), or list them in NOT_RUN with a reason: {unknown}"


@pytest.mark.parametrize("document", documents())
def test_what_a_document_says_to_run_is_run_by_tests_that_name_it(document: str) -> None:
    kinds = {block.kind for block in blocks(document)} & {"bash", "python"}
    if folder := place_of(document, ELSEWHERE):
        assert [*(ROOT / folder).rglob("test_*.py")]
        return
    assert not kinds or document in RUN_BY, f"{document} has blocks of {', '.join(kinds)}; say in RUN_BY what runs them"
    for test in set(RUN_BY.get(document, ())) - {HERE}:
        assert f"{document}" in (ROOT / test).read_text(), f"{test} doesn't name {document}"


def test_no_reason_is_left_over() -> None:
    found = [" ".join(command.words) for document in documents() for command in commands(document)]
    assert [prefix for prefix in NOT_RUN if not any(line.startswith(prefix) for line in found)] == []


@pytest.mark.parametrize("document", documents())
def test_files_of_the_repository_that_a_command_names_are_there(document: str) -> None:
    named = {
        word
        for command in commands(document)
        if command.words[0] != "kubectl"  # it writes service/NAME for what it manages
        for word in command.words[1:]
        if re.fullmatch(r"(compression|benchmarks|scripts|tests|model|service|docker|k8s)/[\w./-]+", word)
        and f"> {word}" not in command.line
        and f"--output {word}" not in command.line
    }
    assert [word for word in sorted(named) if not (ROOT / word).exists()] == []


HERE_RUN = [each for page in documents() if HERE in RUN_BY.get(page, ()) for each in commands(page) if each.runs]


@pytest.mark.parametrize("command", HERE_RUN, ids=str)
def test_a_command_that_needs_nothing_works(command: Command, untraced: dict[str, str]) -> None:
    bin_folder = Path(sys.executable).parent
    line = command.line.replace(".venv/bin/", f"{bin_folder}/")
    paths = ":".join(str(ROOT / part) for part in ("model", "compression", "service"))
    variables = untraced | {"PATH": f"{bin_folder}:{untraced['PATH']}", "PYTHONPATH": paths}
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
