"""What writing an MP4 beside the next job's clip is worth: jobs a second of one worker, both ways in turn.

python benchmarks/overlap.py [--jobs 40] [--rounds 5] > benchmarks/results/NAME.json

A real Redis and the worker's own runner; the queue is never empty, so that there is a next job to overlap with.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from provenance import provenance
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.settings import Settings
from vdmini_serve.embedded import Processes, StopSignal, start_redis
from vdmini_serve.up import default_artifacts
from vdmini_serve.worker.runner import Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec, gradient


def main(jobs: int, rounds: int) -> None:
    """Print the record as JSON."""
    processes = Processes(StopSignal())
    with tempfile.TemporaryDirectory() as folder:
        try:
            url = start_redis(processes, Path(folder)) + "1"
            time.sleep(1)
            settings = Settings(data_dir=Path(folder), artifacts=default_artifacts(), max_active_jobs=10**6)
            settings.results_dir.mkdir()
            print(
                json.dumps(provenance("python benchmarks/overlap.py") | _measure(settings, url, jobs, rounds), indent=2)
            )
        finally:
            processes.close()


def _measure(settings: Settings, url: str, jobs: int, rounds: int) -> dict[str, object]:
    models = load(settings)
    runners = {
        name: Runner(chosen, WorkerStore(Redis.from_url(url), chosen, name), models)
        for name in ("after", "beside")
        for chosen in [settings.model_copy(update={"overlap_mp4": name == "beside"})]
    }
    students = [name for name, model in models.items() if model.descriptor.variant == "vdmini"]
    found = {}
    for name in students:
        submit = _submitter(url, settings, models[name].descriptor)
        seconds: dict[str, list[float]] = {way: [] for way in runners}
        for _ in range(rounds + 1):
            for way, runner in runners.items():
                seconds[way].append(_drain(runner, submit(jobs)))
        kept = {way: values[1:] for way, values in seconds.items()}  # the first round warms up
        ratios = sorted(a / b for a, b in zip(kept["after"], kept["beside"], strict=True))
        found[name] = {
            "jobs_per_second": {way: round(jobs / median(values), 3) for way, values in kept.items()},
            "beside_over_after": {
                "median": round(median(ratios), 3),
                "least": round(ratios[0], 3),
                "most": round(ratios[-1], 3),
            },
        }
    return {"jobs": jobs, "rounds": rounds, "models": found}


def _submitter(url: str, settings: Settings, descriptor: object) -> Callable[[int], list[str]]:
    spec = default_spec(descriptor)  # type: ignore[arg-type]
    image = gradient(spec.width, spec.height) if spec.task == "i2v" else None

    async def create(ids: list[str]) -> None:
        async with AsyncRedis.from_url(url, decode_responses=True) as client:
            for job_id in ids:
                await ApiStore(client, settings).create(job_id, spec, image)

    def submit(jobs: int) -> list[str]:
        ids = [f"{time.monotonic_ns():032x}" for _ in range(jobs)]
        asyncio.run(create(ids))
        return ids

    return submit


def _drain(runner: Runner, ids: list[str]) -> float:
    started = time.perf_counter()
    for job_id in ids:
        runner.run(job_id)
    runner.aftermath.wait()
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    main(options.jobs, options.rounds)
