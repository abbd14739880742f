"""Both commands: help with examples that parse, errors in one line, completion, references that are current."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vdmini_compress.cli
import vdmini_serve.cli
from vdmini.command_line import EXIT_CODES, Parser, completion_script, every_parser, example_arguments

MAINS: dict[str, Callable[[list[str]], int]] = {
    "vdmini-serve": vdmini_serve.cli.main,
    "vdmini-compress": vdmini_compress.cli.main,
}
MAKERS = {"vdmini-serve": vdmini_serve.cli.make_parser, "vdmini-compress": vdmini_compress.cli.make_parser}
COMMANDS = [parser.prog for make in MAKERS.values() for parser in every_parser(make())]
LIBRARIES = "torch diffusers transformers numpy PIL matplotlib httpx redis celery fastapi shtab"


def parser_of(prog: str) -> Parser:
    (found,) = (each for each in every_parser(MAKERS[prog.split(maxsplit=1)[0]]()) if each.prog == prog)
    assert isinstance(found, Parser)
    return found


@pytest.mark.parametrize("prog", COMMANDS)
def test_every_command_explains_itself_with_an_example(prog: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *words = prog.split()
    with pytest.raises(SystemExit) as ended:
        MAINS[command]([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"examples:\n  {prog.split(maxsplit=1)[0]}" in shown or "examples:\n  eval" in shown
    assert EXIT_CODES in shown


@pytest.mark.parametrize("prog", COMMANDS)
def test_the_examples_of_a_command_parse(prog: str) -> None:
    examples = example_arguments(parser_of(prog))
    assert examples
    for arguments in examples:
        MAKERS[prog.split(maxsplit=1)[0]]().parse_args(arguments)


@pytest.mark.parametrize("command", MAINS)
def test_the_version_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[command](["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"{command} 0.")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("vdmini-serve", []),
        ("vdmini-serve", ["generate"]),
        ("vdmini-serve", ["generate", "--image", "a", "--prompt", "b", "-o", "c"]),
        ("vdmini-serve", ["keys"]),
        ("vdmini-compress", ["nonsense"]),
        ("vdmini-compress", ["run", "recipe.yaml"]),
        ("vdmini-compress", ["import", "svd"]),
    ],
)
def test_wrong_arguments_are_one_line(command: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[command](words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "--help tells more" in said.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("vdmini-compress", ["evaluate", "/nowhere"]),
        ("vdmini-compress", ["prune", "/nowhere"]),
        ("vdmini-compress", ["analyze", "/nowhere", "--output", "out"]),
        ("vdmini-compress", ["bench", "/nowhere", "--teacher", "/nowhere", "--output", "out"]),
        ("vdmini-compress", ["decoder", "/nowhere", "--output", "out"]),
        ("vdmini-compress", ["run", "/nowhere.yaml", "--output", "out"]),
        ("vdmini-compress", ["single-forward", "/nowhere.yaml", "--output", "out"]),
        ("vdmini-compress", ["plan", "/nowhere.yaml"]),
        ("vdmini-compress", ["import", "videocrafter2", "--checkpoint", "/nowhere", "--output", "out"]),
        ("vdmini-compress", ["import", "svd", "--model", "/nowhere", "--output", "out"]),
        ("vdmini-compress", ["import", "modelscope", "--model", "/nowhere", "--licence", "x", "--output", "out"]),
        ("vdmini-compress", ["train-teacher", "small-i2v", "--start-from", "/nowhere", "--output", "out"]),
        ("vdmini-serve", ["up", "--artifact", "/nowhere"]),
        ("vdmini-serve", ["generate", "--prompt", "x", "-o", "/nowhere/x.mp4"]),
        ("vdmini-serve", ["generate", "--prompt", "x", "-o", "x.mp4", "--url", "nowhere"]),
    ],
)
def test_what_is_not_there_is_one_line(
    command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert MAINS[command](words) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    assert "nowhere" in said.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("command", MAINS)
def test_bash_takes_the_completion_and_completes(command: str, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(completion_script(MAKERS[command](), "bash"))
    ask = f"""source {script}
complete_with() {{
    local function=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); $function {command} "${{@: -1}}" "${{@: -2:1}}"; echo "${{COMPREPLY[@]}}"
}}
complete_with {command} comp
complete_with {command} completion z
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:2] == ["completion", "zsh"]


@pytest.mark.parametrize("command", MAINS)
def test_there_is_a_completion_for_zsh(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAINS[command](["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith(f"#compdef {command}\n")


@pytest.mark.parametrize("module", ["vdmini_serve.cli", "vdmini_compress.cli"])
def test_help_loads_no_library_that_it_does_not_need(module: str, untraced: dict[str, str]) -> None:
    code = f"import sys, {module} as cli; cli.make_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=untraced)
    assert not set(LIBRARIES.split()) & set(done.stdout.split())


def test_a_reader_that_leaves_is_no_error(untraced: dict[str, str]) -> None:
    line = f"{sys.executable} -m vdmini_serve.cli completion bash | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=untraced)
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "0")


@pytest.mark.parametrize("name", ["cli_reference", "api_reference"])
def test_a_generated_page_is_current(name: str, root: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, root / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.TARGET.read_text() == script.page(), f"run python scripts/{name}.py"
