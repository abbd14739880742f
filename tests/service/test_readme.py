"""The README's commands do what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MAKE_TARGETS = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_every_make_target_it_names_exists() -> None:
    named = {line.split()[1] for line in commands() if line.startswith("make ")}
    assert named == {"demo", "test"}
    assert named | {"help", "check"} <= set(MAKE_TARGETS)


@pytest.mark.parametrize("line", [line for line in commands() if not line.startswith("make ")])
def test_a_command_of_the_readme_works(line: str, service, tmp_path: Path, untraced: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    Image.fromarray(data.chelsea()).save(tmp_path / "photo.png")
    line = line.replace("http://127.0.0.1:8000", service.url).replace("compression/", f"{ROOT}/compression/")
    words = shlex.split(line)
    if words[0].startswith(".venv/bin/"):
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


def test_the_python_of_the_readme_opens_the_artifact(untraced: dict[str, str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env=untraced,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_jobs_commands_of_the_services_page_work(service, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    block = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "service.md").read_text(), re.DOTALL)[0]
    make, look, follow, cancel, fetch = [line.split("   ")[0] for line in block.splitlines()]
    told = {"URL": service.url, "ID": "", "PATH": os.environ["PATH"]}

    def shell(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, check=True, env=told, timeout=120
        )
        return done.stdout.decode()

    told["ID"] = json.loads(shell(make))["id"]
    assert json.loads(shell(look))["status"] in ("queued", "running", "succeeded")
    assert '"status":"succeeded"' in shell(follow).replace(" ", "")
    assert json.loads(shell(cancel))["status"] == "succeeded"
    shell(fetch)
    assert b"ftyp" in (tmp_path / "clip.mp4").read_bytes()[:12]
