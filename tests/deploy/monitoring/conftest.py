"""The real service, watched by a real Prometheus with the committed configuration, after a few jobs of all kinds."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from PIL import Image

from vdmini_serve.embedded import Processes, StopSignal, start_redis
from vdmini_serve.up import default_artifacts

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "docker" / "prometheus"
SCRAPE_SECONDS = 2
START_SECONDS = 240
SHORTENED = {"WorkerNotConsuming": "2s"}
"""Alerts that a test makes fire: only how long they must last is changed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], *, seconds: float, every: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(every)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=20, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def watching(target: str, own: str, folder: Path) -> Path:
    """The committed configuration in a folder of its own; only addresses and intervals are changed.

    Returns:
        The configuration's file.
    """
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    every = f"{SCRAPE_SECONDS}s"
    config["global"] |= {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"}
    addresses = {"vdmini": target, "prometheus": own}
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [addresses[job["job_name"]]]
    for name in config["rule_files"]:
        rules = yaml.safe_load((PROMETHEUS / name).read_text())
        for group in rules["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                if rule.get("alert") in SHORTENED:
                    rule["for"] = SHORTENED[rule["alert"]]
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


@dataclass(frozen=True)
class Watched:
    """A service and the Prometheus that scrapes it.

    Args:
        service: a client of the API.
        prometheus: a client of Prometheus.
        worker: the worker's parent process.
    """

    service: httpx.Client
    prometheus: httpx.Client
    worker: "subprocess.Popen[bytes]"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: `[{"metric": {label: value}, "value": [time, "number"]}, ...]`."""
        answer = self.prometheus.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{answer['error']}: {expression}"
        assert answer["data"]["resultType"] == "vector", expression
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {row["metric"]["alertname"] for row in self.query('ALERTS{alertstate="firing"}')}

    def post(self, task: str, **fields: object) -> str:
        """Ask for a clip without waiting for it; its job's id."""
        answer = self.service.post(f"/v1/{task}", json=fields, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def eventually(self, what: Callable[[], Any], *, seconds: float) -> None:
        """Wait for something to become true."""
        wait_for(what, seconds=seconds)

    def finished(self, job_id: str) -> str:
        """How a job ended."""
        wait_for(lambda: self._status(job_id) not in ("queued", "running"), seconds=120)
        return self._status(job_id)

    def _status(self, job_id: str) -> str:
        return str(self.service.get(f"/v1/jobs/{job_id}").json()["status"])


@pytest.fixture(scope="session")
def watched_service(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path], untraced: dict[str, str]
) -> Iterator[Watched]:
    """After two jobs of each task and variant, re-runs of both tasks, a failed job and a refused request."""
    binary = program("prometheus")
    folder, api, own = tmp_path_factory.mktemp("watched"), free_port(), free_port()
    with ExitStack() as started:
        worker = started.enter_context(_service(folder, untraced, api))
        rules = tmp_path_factory.mktemp("prometheus")
        config = watching(f"127.0.0.1:{api}", f"127.0.0.1:{own}", rules)
        started.enter_context(_prometheus(binary, config, own))
        watched = Watched(
            started.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=120, trust_env=False)),
            started.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{own}", timeout=30, trust_env=False)),
            worker,
        )
        wait_for(lambda: watched.query("vdmini_redis_up"), seconds=60)  # zeros first, or rates see no first job
        failed = 'count(vdmini_job_failures_total{reason="prompt-too-long"}) > 0'
        seen = f"count(vdmini_job_latency_seconds_count) == 4 and on () {failed}"
        _use(watched)
        wait_for(lambda: watched.query(seen), seconds=60)  # a series' first number is no increase
        _use(watched)
        means = "count(task_variant_size:vdmini_job_latency_seconds:mean_5m > 0) == 4"
        both = 'vdmini_job_failures_total{reason="prompt-too-long"} == 2'
        wait_for(lambda: watched.query(means) and watched.query(both), seconds=60)
        compared = "count(task_model:vdmini_shadow_speedup_ratio:p50_1h > 0) == 2"
        wait_for(lambda: watched.query(compared), seconds=120)
        steps = "avg_over_time(vdmini_redis_up[15m:15s])"
        wait_for(lambda: watched.query(steps), seconds=60)  # a panel looks at every fifteenth second only
        yield watched


@contextmanager
def _service(folder: Path, untraced: dict[str, str], port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Redis, API and worker; the worker's process is what tests play with."""
    processes = Processes(StopSignal())
    paths = os.pathsep.join(str(ROOT / part) for part in ("model", "compression", "service"))
    try:
        url = start_redis(processes, folder)
        variables = untraced | {
            **{"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)},
            **{"VDMINI_BROKER_URL": url + "0", "VDMINI_JOBS_URL": url + "1", "VDMINI_DATA_DIR": str(folder / "data")},
            "VDMINI_ARTIFACTS": os.pathsep.join(map(str, default_artifacts())),
            **{"VDMINI_BASELINE_RUNS": "1", "VDMINI_SHADOW_SHARE": "1", "VDMINI_SHADOW_IDLE_SECONDS": "0.1"},
            **{"VDMINI_STALL_SECONDS": "3", "VDMINI_HEARTBEAT_SECONDS": "1", "VDMINI_LOG_LEVEL": "warning"},
        }
        command = [sys.executable, "-m", "vdmini_serve.cli"]
        with (folder / "log").open("w") as log:
            worker = subprocess.Popen([*command, "worker"], env=variables, stdout=log, stderr=log)
            api = subprocess.Popen([*command, "api", "--port", str(port)], env=variables, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/readyz"
            wait_for(lambda: worker.poll() is not None or answers(url), seconds=START_SECONDS)
            assert worker.poll() is None, (folder / "log").read_text()
            yield worker
        finally:
            _end(api, worker)
    finally:
        processes.close()


@contextmanager
def _prometheus(binary: Path, config: Path, port: int) -> Iterator[None]:
    options = {
        "config.file": config,
        "storage.tsdb.path": config.parent / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    command = [str(binary), *(f"--{name}={value}" for name, value in options.items())]
    log = config.parent / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/-/ready"
        wait_for(lambda: process.poll() is not None or answers(url), seconds=60, every=0.05)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        _end(process)


def _end(*processes: "subprocess.Popen[bytes]") -> None:
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in processes:
        process.wait(timeout=40)


def _use(watched: Watched) -> None:
    """Jobs of all kinds, one after the other: a busy worker re-runs nothing."""
    prompt, picture = "a red circle moves to the right", _picture()
    for variant in ("vdmini", "teacher"):
        assert watched.finished(watched.post("t2v", prompt=prompt, variant=variant)) == "succeeded"
        form = {"files": {"image": picture}, "data": {"variant": variant}}
        assert watched.service.post("/v1/i2v", **form).status_code == 200
    assert watched.finished(watched.post("t2v", prompt="xq" * 100)) == "failed"
    assert watched.service.post("/v1/t2v", json={"prompt": prompt, "variant": "nobody"}).status_code == 422


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((160, 120)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
