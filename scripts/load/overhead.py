"""What the service costs beside the model: per job, per poll, to cancel, to stop; and the memory of the API.

python scripts/load/overhead.py [--jobs 100] [--seconds 15] [--output FILE.json]

Ends with 1 when a figure misses its goal.
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from clients import PROMPTS, picture
from fleet import SOFT_SHUTDOWN_SECONDS, Fleet, running, wait_until
from polling import poll
from record import quantiles, write

ASYNC = {"Prefer": "respond-async"}
LONG = {"prompt": PROMPTS[0], "num_inference_steps": 16, "seed": 1}
GOALS = {
    "overhead_p50": 0.030,
    "overhead_p99": 0.150,
    "polls_per_second": 500,
    "api_mb": 150,
    "cancel_beyond_a_step": 0.1,
}
WARM_UP_JOBS = 4


def main(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    with running(keep_logs=options.logs) as fleet:
        url = next(iter(fleet.apis))
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            found: dict[str, Any] = {"goals": GOALS, "api_mb": {"first": _api_mb(fleet)}}
            found["overhead_seconds"] = overhead(client, options.jobs)
            found["polls"] = polls(client, url, options)
            found["cancel_seconds"] = cancels(client, options.cancels)
            found["api_mb"]["last"] = _api_mb(fleet)
            found["sigterm"] = stop_under_load(client, fleet)
    found["missed"] = missed(found)
    write(found, options.output)
    return 1 if found["missed"] else 0


def overhead(client: httpx.Client, jobs: int) -> dict[str, Any]:
    """Wall time of a request that waits for its clip, less engine and MP4; one job at a time, both tasks in turn.

    The worker's part is what it does outside of all stages, that of the API what is before acceptance and after.
    """
    left: dict[str, list[float]] = {"i2v": [], "t2v": []}
    parts: dict[str, list[float]] = {"queue": [], "worker": [], "api": []}
    image = picture()
    for number in range(jobs + WARM_UP_JOBS):
        task = ("i2v", "t2v")[number % 2]
        began = time.perf_counter()
        if task == "i2v":
            answer = client.post("/v1/i2v", files={"image": image}, data={"seed": str(number)})
        else:
            answer = client.post("/v1/t2v", json={"prompt": PROMPTS[0], "seed": number})
        wall = time.perf_counter() - began
        job = client.get(f"/v1/jobs/{answer.raise_for_status().headers['x-vdmini-job']}").json()
        if number >= WARM_UP_JOBS:
            engine = sum(job["timings"][stage] for stage in ("encode", "denoise", "decode", "mp4"))
            left[task].append(wall - engine)
            queue, total = job["timings"]["queue"], job["timings"]["total"]
            parts["queue"].append(queue)
            parts["worker"].append(total - queue - engine)
            parts["api"].append(wall - total)
    both = quantiles([*left["i2v"], *left["t2v"]])
    return (
        both
        | {task: quantiles(values) for task, values in left.items()}
        | {"of_which": {part: quantiles(values) for part, values in parts.items()}}
    )


def polls(client: httpx.Client, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Polls a second of a job that runs, while the worker always has another one."""
    done = threading.Event()

    def keep_busy() -> None:
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as own:
            while not done.is_set():
                own.post("/v1/t2v", json=LONG)

    feeder = threading.Thread(target=keep_busy, daemon=True)
    feeder.start()
    wait_until(lambda: client.get("/v1/jobs?limit=1").json()["jobs"][0]["status"] == "running", seconds=60, every=0.01)
    job = client.get("/v1/jobs?limit=1").json()["jobs"][0]["id"]
    found = poll(url, f"/v1/jobs/{job}", connections=options.connections, seconds=options.seconds)
    done.set()
    feeder.join()
    return {
        "connections": options.connections,
        "per_second": round(found.per_second, 1),
        "failures": found.failures,
        "answer_seconds": quantiles(found.seconds),
    }


def cancels(client: httpx.Client, count: int) -> dict[str, Any]:
    """From asking to cancel a running job to its last state, and how long a denoising step is."""
    steps, waits = [], []
    for number in range(3):
        job = client.post("/v1/t2v", json=LONG | {"seed": number}).raise_for_status().headers["x-vdmini-job"]
        steps.append(client.get(f"/v1/jobs/{job}").json()["timings"]["denoise"] / LONG["num_inference_steps"])
    for number in range(count):
        job = client.post("/v1/t2v", json=LONG | {"seed": number}, headers=ASYNC).raise_for_status().json()["id"]
        wait_until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["progress"] > 0, seconds=60, every=0.01)
        time.sleep(0.03 * (number % 5))
        asked = time.time()
        client.post(f"/v1/jobs/{job}/cancel").raise_for_status()
        wait_until(lambda job=job: client.get(f"/v1/jobs/{job}").json()["finished_at"], seconds=30, every=0.01)
        ended = client.get(f"/v1/jobs/{job}").json()
        if ended["status"] == "cancelled":
            waits.append(ended["finished_at"] - asked)
    return quantiles(waits) | {"step": round(max(steps), 4), "too_late_to_cancel": count - len(waits)}


def stop_under_load(client: httpx.Client, fleet: Fleet) -> dict[str, Any]:
    """SIGTERM while a job runs and others wait; then the worker comes back."""
    jobs = [
        client.post("/v1/t2v", json=LONG | {"seed": n}, headers=ASYNC).raise_for_status().json()["id"] for n in range(5)
    ]

    def states() -> list[dict[str, Any]]:
        return [client.get(f"/v1/jobs/{job}").json() for job in jobs]

    wait_until(lambda: any(job["progress"] > 0 for job in states()), seconds=60, every=0.01)
    worker = fleet.workers[0]
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    code = worker.process.wait(timeout=SOFT_SHUTDOWN_SECONDS + 30) if worker.process else None
    seconds = time.monotonic() - began
    after = [job["status"] for job in states()]
    worker.start()
    wait_until(lambda: all(job["finished_at"] for job in states()), seconds=180, every=0.2)
    ended = states()
    return {
        "exit_code": code,
        "seconds": round(seconds, 2),
        "soft_timeout_seconds": SOFT_SHUTDOWN_SECONDS,
        "states_at_exit": after,
        "states_at_last": [job["status"] for job in ended],
        "attempts": [job["attempts"] for job in ended],
    }


def missed(found: dict[str, Any]) -> list[str]:
    """The goals that were not reached."""
    overheads, stop, cancel = found["overhead_seconds"], found["sigterm"], found["cancel_seconds"]
    checks = {
        "overhead p50": overheads["p50"] <= GOALS["overhead_p50"],
        "overhead p99": overheads["p99"] <= GOALS["overhead_p99"],
        "polls a second": found["polls"]["per_second"] >= GOALS["polls_per_second"] and not found["polls"]["failures"],
        "memory of the API": found["api_mb"]["last"] <= GOALS["api_mb"],
        "cancel": cancel["p95"] <= cancel["step"] + GOALS["cancel_beyond_a_step"],
        "SIGTERM": stop["seconds"] <= SOFT_SHUTDOWN_SECONDS and set(stop["states_at_last"]) == {"succeeded"},
    }
    return [name for name, reached in checks.items() if not reached]


def _api_mb(fleet: Fleet) -> float:
    return round(next(iter(fleet.apis.values())).memory_bytes() / 2**20, 1)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--jobs", type=int, default=100, help="one after the other (default: %(default)s)")
    found.add_argument("--cancels", type=int, default=30, help="jobs to cancel (default: %(default)s)")
    found.add_argument("--connections", type=int, default=8, help="that poll (default: %(default)s)")
    found.add_argument("--seconds", type=float, default=15, help="of polling (default: %(default)s)")
    found.add_argument("--logs", type=Path, help="folder that keeps the logs of all processes")
    found.add_argument("--output", type=Path, help="JSON file to write")
    return found


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
