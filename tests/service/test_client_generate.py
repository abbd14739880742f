"""`vdmini-serve generate` as a person at a terminal has it: a bar, Ctrl-C, JSON for programs."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import Any

import pytest

from vdmini_client import Client, Job
from vdmini_serve.cli import main
from vdmini_serve.progress_bar import ProgressBar, duration, line

PROMPT = "a red circle moves to the right"


@contextmanager
def at_a_terminal(service, *arguments: str, **extra: str):
    """The command with a terminal for its standard error; yields it and a reader of what the terminal shows."""
    outer, inner = pty.openpty()
    words = [sys.executable, "-m", "vdmini_serve.cli", "generate", "--url", service.url, *arguments]
    with (
        closing(os.fdopen(outer, "rb", buffering=0)) as screen,
        subprocess.Popen(
            words, env={**service.environment, "TERM": "xterm", **extra}, stdout=subprocess.PIPE, stderr=inner
        ) as process,
    ):
        os.close(inner)
        yield process, screen


def shown(screen: Any, *, until: str | None = None) -> str:
    text = ""
    while until is None or until not in text:
        try:
            piece = screen.read(4096)
        except OSError:  # how Linux says that nobody writes there any more
            break
        if not piece:
            break
        text += piece.decode()
    return text


def test_a_terminal_shows_progress_and_keeps_no_trace_of_it(service, tmp_path):
    output = tmp_path / "clip.mp4"
    with at_a_terminal(service, "--prompt", PROMPT, "-o", str(output), "--num-inference-steps", "16") as (done, screen):
        text = shown(screen)
        assert done.stdout is not None
        said = done.stdout.read().decode()
    assert done.returncode == 0
    assert re.search(r"\[#*\.*\] +\d+%", text)
    assert text.endswith("\r\x1b[K")
    assert f"{output}: 8 frames" in said
    assert "\x1b" not in said


def test_ctrl_c_cancels_the_job_and_says_so(service, tmp_path):
    with Client(service.url) as client:
        before = [client.submit_t2v(PROMPT, variant="teacher", num_inference_steps=16) for _ in range(20)]
        with at_a_terminal(service, "--prompt", PROMPT, "-o", str(tmp_path / "x.mp4"), "--priority", "low") as (
            process,
            screen,
        ):
            text = shown(screen, until="before it")
            process.send_signal(signal.SIGINT)
            text += shown(screen)
        for job in before:
            client.cancel(job)
        assert process.returncode == 130
        (job_id,) = re.findall(r"vdmini-serve: cancelled job (\w+)", text)
        assert client.job(job_id).status == "cancelled"
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_a_program_gets_the_job_as_json(service, tmp_path, capsys):
    words = ["--url", service.url, "--prompt", PROMPT, "-o", str(tmp_path / "x.mp4"), "--quality", "draft", "--json"]
    assert main(["generate", *words]) == 0
    said = capsys.readouterr()
    job = json.loads(said.out)
    assert (job["status"], said.err) == ("succeeded", "")
    assert job["choice"]
    assert job["size_bytes"] == (tmp_path / "x.mp4").stat().st_size


def test_a_folder_in_place_of_a_file_is_refused(service, tmp_path, capsys):
    assert main(["generate", "--url", service.url, "--prompt", PROMPT, "-o", str(tmp_path)]) == 1
    assert "is a folder; give the name of the MP4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"status": "queued", "queue_position": 3, "eta_seconds": 72.4},
            "queued     3 before it  about 1 min 12 s to go",
        ),
        ({"status": "queued", "queue_position": 0}, "queued     next in line"),
        ({"status": "queued"}, "queued     waiting"),
        ({"status": "running", "progress": 0.5}, f"running    [{'#' * 14}{'.' * 14}]  50%"),
        (
            {"status": "running", "progress": 1.0, "eta_seconds": 0.2},
            f"running    [{'#' * 28}] 100%  about a second to go",
        ),
    ],
)
def test_the_bar_tells_place_progress_and_time(changes: dict[str, Any], expected: str, service) -> None:
    with Client(service.url) as client:
        job = client.jobs(limit=1).jobs[0]
    fresh = {"progress": 0.0, "queue_position": None, "eta_seconds": None}
    assert line(Job.model_validate({**job.model_dump(), **fresh, **changes})) == expected


def test_what_is_no_terminal_shows_nothing(service) -> None:
    stream = io.StringIO()
    with Client(service.url) as client, ProgressBar(stream) as bar:
        bar.show(client.jobs(limit=1).jobs[0])
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.3, "a second"), (59.4, "59 s"), (60, "1 min 00 s"), (7260, "2 h 01 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_keys_are_listed_as_json(redis_url, monkeypatch, capsys) -> None:
    monkeypatch.setenv("VDMINI_JOBS_URL", redis_url)
    assert main(["keys", "add", "a program", "--rate", "2/second"]) == 0
    key = capsys.readouterr().out.strip()
    assert main(["keys", "list", "--json"]) == 0
    said = capsys.readouterr().out
    (made,) = [each for each in json.loads(said) if each["name"] == "a program"]
    assert (made["rate"], key in said) == ("2/second", False)
    assert main(["keys", "remove", made["id"]]) == 0
    assert main(["keys", "remove", made["id"]]) == 1
