"""A day's jobs one after the other as fast as they go: whether the worker's child, the API or Redis grow meanwhile.

python scripts/load/soak.py --jobs 3000 [--clients 4] [--output FILE.json]

A leak is a slope: resident memory is sampled after the warm-up and a line is fitted. Redis keeps jobs until they
expire, so its figure is bytes for a job and not nothing. Ends with 1 when something is wrong or grows too much.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from audit import audit
from clients import Tally, start_clients
from fleet import Fleet, running
from record import write
from redis import Redis

SAMPLE_SECONDS = 1.0
WARM_UP_SHARE = 0.3
"""The first samples are left out: allocators and caches fill."""
MOST_BYTES_PER_JOB = {"child": 10_000, "api": 2_000, "redis": 8_000}
"""With 3,000 jobs a day, 10,000 bytes a job are 30 MB a day; Redis holds each job's record on purpose."""


def main(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    settings = {"VDMINI_MAX_ACTIVE_JOBS": "100"}
    with running(settings=settings, keep_logs=options.logs) as fleet:
        tally, samples, seconds = soak(fleet, options)
        found: dict[str, Any] = {"jobs": options.jobs, "seconds": round(seconds, 1)}
        found |= audit(fleet, tally.accepted)
    found["memory"] = {name: growth(samples, name) for name in ("child", "api", "redis", "redis_dataset")}
    found["defects"] = [*tally.errors, *found["defects"], *steep(found["memory"])]
    write(found, options.output)
    return 1 if found["defects"] else 0


def soak(fleet: Fleet, options: argparse.Namespace) -> tuple[Tally, list[dict[str, float]], float]:
    """Run the jobs and sample the memory."""
    tally, samples, began = Tally(), [], time.monotonic()
    _, alive = start_clients(
        tuple(fleet.apis), clients=options.clients, jobs=options.jobs, seed=options.seed, tally=tally
    )
    with Redis.from_url(fleet.jobs_url) as redis:
        while alive():
            samples.append(sample(fleet, redis) | {"jobs": float(tally.finished)})
            time.sleep(SAMPLE_SECONDS)
    return tally, samples, time.monotonic() - began


def sample(fleet: Fleet, redis: "Redis") -> dict[str, float]:
    """Resident bytes of each process, and what Redis says its data take."""
    child = fleet.workers[0].child()
    if child is None:
        raise RuntimeError("the worker has lost its child; a soak kills nothing, see the worker's log")
    return {
        "child": float(psutil.Process(child).memory_info().rss),
        "api": float(next(iter(fleet.apis.values())).memory_bytes()),
        "redis": float(fleet.redis.memory_bytes()),
        "redis_dataset": float(redis.info("memory")["used_memory_dataset"]),
    }


def growth(samples: list[dict[str, float]], name: str) -> dict[str, float]:
    """First, last and most resident megabytes, and the slope over jobs after the warm-up."""
    values = [each[name] for each in samples]
    kept = samples[int(len(samples) * WARM_UP_SHARE) :]
    slope = 0.0
    if len({each["jobs"] for each in kept}) > 1:
        slope = statistics.linear_regression([each["jobs"] for each in kept], [each[name] for each in kept]).slope
    megabytes = {"first_mb": values[0], "last_mb": values[-1], "most_mb": max(values)}
    return {key: round(value / 2**20, 2) for key, value in megabytes.items()} | {"bytes_per_job": round(slope, 1)}


def steep(memory: dict[str, dict[str, float]]) -> list[str]:
    """What grows more than it may."""
    return [
        f"the {name} grows by {memory[name]['bytes_per_job']} bytes a job, allowed are {most}"
        for name, most in MOST_BYTES_PER_JOB.items()
        if memory[name]["bytes_per_job"] > most
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--jobs", type=int, default=3000, help="in all (default: %(default)s)")
    found.add_argument("--clients", type=int, default=4, help="threads that submit and poll (default: %(default)s)")
    found.add_argument("--seed", type=int, default=0, help="of what is asked for (default: %(default)s)")
    found.add_argument("--logs", type=Path, help="folder that keeps the logs of all processes")
    found.add_argument("--output", type=Path, help="JSON file to write")
    return found


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
