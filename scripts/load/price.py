"""What the service itself costs: seconds of a core that Redis and an API spend for a job, a poll and an idle worker.

python scripts/load/price.py [--jobs 300] [--output FILE.json]

From this follows how many jobs, clients and workers one Redis and one API process can carry, whatever the models take.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from clients import PROMPTS, picture
from fleet import Fleet, running, wait_until
from polling import poll
from record import write
from redis import Redis

WORKERS = (1, 3)
STEADY_SECONDS = 5.0
BATCH = 20
"""Jobs that are sent at a time, so that as many again wait at most: what waits is looked at again and again."""
Costs = dict[str, float]


def main(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    idle = {}
    for workers in WORKERS:
        with running(workers=workers, settings={"VDMINI_SHADOW_SHARE": "0"}) as fleet:
            time.sleep(STEADY_SECONDS)
            idle[workers] = spent(fleet, lambda: time.sleep(options.idle))
            if workers == WORKERS[0]:
                found = busy(fleet, options, idle[workers])
    fewest, most = WORKERS
    found["idle_worker_a_second"] = _of(idle[most], idle[fewest], most - fewest, idle[most]["seconds"])
    found["nobody_a_second"] = _of(idle[fewest], {}, 1, idle[fewest]["seconds"])
    write(found, options.output)
    return 0


def busy(fleet: Fleet, options: argparse.Namespace, idle: Costs) -> dict[str, Any]:
    """Jobs without a poll, then polls without a job."""
    url = next(iter(fleet.apis))
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        jobs = spent(fleet, lambda: make(client, options.jobs))
        last = client.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]["id"]
        answered: list[int] = []
        path = f"/v1/jobs/{last}"
        polls = spent(
            fleet, lambda: answered.append(len(poll(url, path, connections=4, seconds=options.polls).seconds))
        )
    return {
        "jobs": options.jobs,
        "polls": answered[0],
        "a_job": _of(jobs, _scaled(idle, jobs["seconds"]), options.jobs, 1),
        "a_poll": _of(polls, _scaled(idle, polls["seconds"]), answered[0], 1),
        "api_mb": round(fleet.apis[url].memory_bytes() / 2**20, 1),
    }


def make(client: httpx.Client, jobs: int) -> None:
    """Send jobs, both tasks in turn, and wait for the last; the metrics tell, so that nothing is polled."""
    image, before = picture(), _finished(client)
    for number in range(jobs):
        while number % BATCH == 0 and number - (_finished(client) - before) > BATCH:
            time.sleep(2)
        if number % 2:
            body = {"prompt": PROMPTS[0], "seed": number}
            response = client.post("/v1/t2v", json=body, headers={"Prefer": "respond-async"})
        else:
            fields = {"seed": str(number)}
            response = client.post("/v1/i2v", files={"image": image}, data=fields, headers={"Prefer": "respond-async"})
        response.raise_for_status()
    wait_until(lambda: _finished(client) - before >= jobs, seconds=1200, every=2)


def _finished(client: httpx.Client) -> int:
    lines = client.get("/metrics").text.splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vdmini_jobs_total{"))


def spent(fleet: Fleet, what: Callable[[], object]) -> Costs:
    """What Redis and the APIs spend while something happens."""
    with Redis.from_url(fleet.jobs_url) as redis:
        before, began = _counters(fleet, redis), time.monotonic()
        what()
        after, seconds = _counters(fleet, redis), time.monotonic() - began
    return {name: after[name] - before[name] for name in after} | {"seconds": seconds}


def _counters(fleet: Fleet, redis: "Redis") -> Costs:
    info, stats = psutil.Process(fleet.redis.pid).cpu_times(), redis.info("stats")
    api = [psutil.Process(each.pid).cpu_times() for each in fleet.apis.values()]
    return {
        "redis_core_seconds": info.user + info.system,
        "redis_commands": float(stats["total_commands_processed"]),
        "redis_bytes_out": float(stats["total_net_output_bytes"]),
        "api_core_seconds": sum(each.user + each.system for each in api),
    }


def _scaled(idle: Costs, seconds: float) -> Costs:
    return {name: value * seconds / idle["seconds"] for name, value in idle.items()}


def _of(costs: Costs, less: Costs, number: int, seconds: float) -> Costs:
    names = [name for name in costs if name != "seconds"]
    return {name: round((costs[name] - less.get(name, 0.0)) / number / seconds, 7) for name in names}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--jobs", type=int, default=300, help="in all (default: %(default)s)")
    found.add_argument("--idle", type=float, default=60, help="seconds of idling (default: %(default)s)")
    found.add_argument("--polls", type=float, default=20, help="seconds of polling (default: %(default)s)")
    found.add_argument("--output", type=Path, help="JSON file to write")
    return found


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
