"""What a job waits for because an idle worker was re-running another one: a whole service, with and without re-runs.

python benchmarks/shadow_wait.py [--jobs 60] > benchmarks/results/NAME.json

One job at a time, after a pause of random length, so that most come in the middle of a re-run (which then has no idle
time to wait for: `VDMINI_SHADOW_IDLE_SECONDS=0`). Told are the seconds from acceptance to the start, and the mean step
of a few teacher jobs, the slowest among them included.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import httpx
from provenance import provenance

PROMPT = "a red circle moving right slowly on a gray background"
STEPS = 16


def main(jobs: int) -> None:
    """Print the record as JSON."""
    found = {}
    for name, share in (("without", "0"), ("with", "1")):
        with _service(VDMINI_SHADOW_SHARE=share, VDMINI_SHADOW_IDLE_SECONDS="0") as client:
            found[name] = _measure(client, jobs)
    command = f"OMP_NUM_THREADS=1 python benchmarks/shadow_wait.py --jobs {jobs}"
    print(json.dumps(provenance(command) | {"jobs": jobs, "steps": STEPS, "re_runs": found}, indent=2))


def _measure(client: httpx.Client, jobs: int) -> dict[str, Any]:
    pauses = random.Random(0)  # noqa: S311  # the same pauses each time
    waits = []
    for _ in range(jobs):
        waits.append(_run(client, "vdmini")["timings"]["queue"])
        time.sleep(pauses.uniform(0.3, 1.5))
    steps = [_run(client, "teacher")["timings"]["denoise"] / STEPS for _ in range(5)]
    waits.sort()
    return {
        "teacher_step_seconds": {"median": round(median(steps), 4), "most": round(max(steps), 4)},
        "wait_seconds": {
            "median": round(median(waits), 4),
            "p95": round(waits[int(0.95 * len(waits))], 4),
            "most": round(waits[-1], 4),
        },
        "runs": _runs(client),
    }


def _run(client: httpx.Client, variant: str) -> dict[str, Any]:
    fields = {"prompt": PROMPT, "num_inference_steps": STEPS, "variant": variant}
    answer = client.post("/v1/t2v", json=fields).raise_for_status()
    job: dict[str, Any] = client.get(f"/v1/jobs/{answer.headers['x-vdmini-job']}").json()
    return job


def _runs(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("vdmini_shadow_runs_total{")]
    return {line.split('outcome="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in found}


@contextmanager
def _service(**settings: str) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vdmini_serve.cli", "up", "--port", str(port)]
        process = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **settings, "TMPDIR": folder}, stdout=sys.stderr
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
                _wait_until_ready(client)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the service wasn't ready within 240 s; see what it wrote above")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    main(parser.parse_args().jobs)
