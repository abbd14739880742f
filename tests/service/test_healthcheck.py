"""`vdmini-serve healthcheck` tells the truth, with a real Redis and a real file. Containers ask a real worker."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from vdmini_serve.cli import main
from vdmini_serve.contract import keys
from vdmini_serve.contract.model import WorkerBeat
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.worker import heartbeat

SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip
NOWHERE = "redis://127.0.0.1:1/1"


@pytest.fixture
def file(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VDMINI_HEARTBEAT_FILE", str(tmp_path / "beat.json"))
    monkeypatch.setenv("VDMINI_JOBS_URL", redis_url)
    monkeypatch.setenv("VDMINI_STALL_SECONDS", "30")
    monkeypatch.setenv("VDMINI_LOAD_TIMEOUT_SECONDS", "900")
    return tmp_path / "beat.json"


@pytest.fixture
def worker(file: Path, redis: "Redis[bytes]") -> Callable[..., None]:
    """A worker that says something, in the file so many seconds ago and in Redis so many."""

    def say(state: str = "idle", *, age: float = 0, age_in_redis: float | None = 0, since: float = 100) -> None:
        now = time.time()
        beat = WorkerBeat(id="w", state=state, models=("m",), at=now - age, since=now - since)
        heartbeat.write(file, beat)
        if age_in_redis is not None:
            told = beat.model_copy(update={"at": now - age_in_redis})
            redis.hset(keys.WORKERS, "w", told.model_dump_json())

    return say


@pytest.fixture
def waiting_job(redis: "Redis[bytes]") -> Callable[..., None]:
    def put(*, seconds: float, model: str = "m", status: str = "queued") -> None:
        spec = SPEC.model_copy(update={"model": model}).model_dump_json()
        fields = {"status": status, "published_at": time.time() - seconds, "spec": spec}
        redis.hset(keys.job_key("j"), mapping=fields)
        redis.zadd(keys.ACTIVE, {"j": 1})

    return put


def verdict(*options: str) -> bool:
    return main(["healthcheck", *options]) == 0


def test_a_worker_that_idles_or_works_is_well_and_ready(worker):
    for state in ("idle", "busy"):
        worker(state)
        assert verdict()
        assert verdict("--ready")


@pytest.mark.parametrize("state", ["loading", "warming"])
def test_a_worker_that_loads_is_well_and_not_ready(worker, state, capsys):
    worker(state, age_in_redis=None)
    assert verdict()
    assert not verdict("--ready")
    assert f"it is {state} and takes no jobs yet" in capsys.readouterr().err


def test_a_load_may_be_silent_for_longer_than_a_worker_that_has_loaded(worker):
    worker("loading", age=600)
    assert verdict()
    worker("loading", age=1000)
    assert not verdict()
    worker("idle", age=31)
    assert not verdict()


def test_no_file_and_a_damaged_one_are_named(file, capsys):
    assert not verdict()
    assert f"there is no {file}: no worker has started here" in capsys.readouterr().err
    file.write_text('{"id": "w"')
    assert not verdict()
    assert f"{file} cannot be read" in capsys.readouterr().err


def test_without_the_setting_the_check_says_what_to_set(monkeypatch, capsys):
    monkeypatch.delenv("VDMINI_HEARTBEAT_FILE", raising=False)
    assert not verdict()
    assert "VDMINI_HEARTBEAT_FILE is not set" in capsys.readouterr().err


def test_a_restart_would_not_bring_redis_back(worker, monkeypatch, capsys):
    worker()
    monkeypatch.setenv("VDMINI_JOBS_URL", NOWHERE)
    assert verdict()
    assert not verdict("--ready")
    assert "Redis is away" in capsys.readouterr().err


@pytest.mark.parametrize(("age", "well", "ready"), [(5, True, True), (20, True, False), (40, False, False)])
def test_a_worker_that_redis_has_not_heard_of_lately_is_one_nobody_sends_jobs(worker, age, well, ready):
    worker(age_in_redis=age)
    assert (verdict(), verdict("--ready")) == (well, ready)


def test_a_worker_that_redis_does_not_know_gets_the_time_of_a_beat(worker):
    worker(age_in_redis=None, since=1)
    assert verdict()
    worker(age_in_redis=None, since=100)
    assert not verdict()


def test_a_worker_that_idles_beside_a_job_of_its_own_is_not_well(worker, waiting_job, capsys):
    worker()
    waiting_job(seconds=60)
    assert not verdict()
    assert "although job j waits for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "job"),
    [
        ({"state": "busy"}, {"seconds": 60}),
        ({"since": 5}, {"seconds": 60}),
        ({}, {"seconds": 5}),
        ({}, {"seconds": 60, "model": "another"}),
        ({}, {"seconds": 60, "status": "running"}),
    ],
)
def test_a_worker_is_well_beside_a_job_that_it_could_not_have_taken_yet(worker, waiting_job, said, job):
    worker(**said)
    waiting_job(**job)
    assert verdict()


def test_the_check_imports_no_torch() -> None:
    code = "import sys, vdmini_serve.worker.health; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_that_cannot_be_written_is_named_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("REMAP_SIGTERM", "")
    monkeypatch.setenv("VDMINI_HEARTBEAT_FILE", str(tmp_path / "nowhere" / "beat.json"))
    assert main(["worker"]) == 1
    assert "VDMINI_HEARTBEAT_FILE cannot be written" in capsys.readouterr().err
