"""Commands of the documents that need a running service, and the README's Python."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from classes import NOT_RUN
from documents import ROOT, Command, commands, snippets
from PIL import Image
from skimage import data

PAGES = ("README.md", "docs/first-teacher.md")
"""Their commands stand for themselves; those of `docs/service.md` belong together, see below."""
MAKE_TARGETS = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


def wanted() -> list[Command]:
    found = [command for page in PAGES for command in commands(page) if command.runs]
    listed = [command for command in found if any(command.line.startswith(prefix) for prefix in NOT_RUN)]
    tutorial = [each for each in found if each.document != "README.md" and each.words[0] == "vdmini-compress"]
    return [command for command in found if command not in listed + tutorial]


def test_every_make_target_that_a_document_names_exists() -> None:
    named = {command.words[1] for page in (*PAGES, "CONTRIBUTING.md") for command in commands(page)
             if command.words[0] == "make"}  # fmt: skip
    assert {"demo", "test", "check"} <= named <= set(MAKE_TARGETS)


@pytest.mark.parametrize("command", wanted(), ids=str)
def test_a_command_works(command: Command, service, tmp_path: Path, untraced: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    Image.fromarray(data.chelsea()).save(tmp_path / "photo.png")
    line = command.line.replace("http://127.0.0.1:8000", service.url).replace("compression/", f"{ROOT}/compression/")
    words = shlex.split(line)
    if words[0].startswith((".venv/bin/", "vdmini-")):
        words[0] = str(Path(sys.executable).parent / Path(words[0]).name)
    if "generate" in words:
        words += ["--url", service.url]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=240, check=False, env=untraced)
    assert done.returncode == 0, done.stderr.decode()
    for flag, name in pairwise(words):
        if flag == "-o":
            assert b"ftyp" in (tmp_path / name).read_bytes()[:12]
    if "--json" in words:
        assert done.stdout.strip().startswith(b"{")


@pytest.mark.parametrize("snippet", snippets("README.md"), ids=lambda snippet: snippet.document)
def test_python_of_the_readme_runs(snippet, service, untraced: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    code = snippet.text.replace("http://127.0.0.1:8000", service.url)
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=untraced)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def shell(service, redis_url: str, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Runs a line as a reader would, with URL and ID set."""
    paths = ":".join(str(ROOT / part) for part in ("model", "compression", "service"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = {"URL": service.url, "ID": "", "PATH": path, "PYTHONPATH": paths, "VDMINI_JOBS_URL": redis_url}

    def run(line: str, **changes: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, check=True, env=told | changes, timeout=120
        )
        return done.stdout.decode()

    return run


def lines_of_the_services_page(program: str) -> list[str]:
    found = [command for command in commands("docs/service.md") if command.runs]
    assert {command.words[0] for command in found} == {"curl", "vdmini-serve"}
    return [command.line for command in found if command.words[0] == program]


def test_the_jobs_commands_of_the_services_page_work(shell, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make, look, follow, cancel, fetch = lines_of_the_services_page("curl")
    job = json.loads(shell(make))["id"]
    assert json.loads(shell(look, ID=job))["status"] in ("queued", "running", "succeeded")
    assert '"status":"succeeded"' in shell(follow, ID=job).replace(" ", "")
    assert json.loads(shell(cancel, ID=job))["status"] == "succeeded"
    shell(fetch, ID=job)
    assert b"ftyp" in (tmp_path / "clip.mp4").read_bytes()[:12]


def test_the_keys_commands_of_the_services_page_work(shell) -> None:  # type: ignore[no-untyped-def]
    add, show, remove = lines_of_the_services_page("vdmini-serve")
    assert shell(add).startswith("vdm_")
    (line,) = [line for line in shell(show).splitlines() if line.endswith("the shop")]
    shell(re.sub(r"\bID\b", line.split()[0], remove))
    assert "the shop" not in shell(show)
