"""What real work waits for when it comes in the middle of a re-run on the teacher, beside how long a step takes then.

OMP_NUM_THREADS=1 python benchmarks/shadow_wait.py [--times 60] > benchmarks/results/NAME.json

The worker's own parts, its models and a real Redis, in one process: a shared machine is too uneven from minute to
minute to compare the waits of two services.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from provenance import provenance
from redis import Redis

from vdmini_serve.contract.settings import Settings
from vdmini_serve.embedded import Processes, StopSignal, start_redis
from vdmini_serve.up import default_artifacts
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.shadow import Served, Shadow
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.teacher import teacher_of
from vdmini_serve.worker.warmup import default_spec


def main(times: int) -> None:
    """Print the record as JSON."""
    processes = Processes(StopSignal())
    with tempfile.TemporaryDirectory() as folder:
        try:
            url = start_redis(processes, Path(folder)) + "1"
            time.sleep(1)
            settings = Settings(artifacts=default_artifacts(), shadow_share=1, shadow_idle_seconds=0, device="cpu")
            models = load(settings)
            shadow = Shadow(settings, WorkerStore(Redis.from_url(url), settings, "benchmark"), models)
            model = next(each for each in models.values() if each.descriptor.name == "small-t2v-vdmini")
            waits, steps = _measure(shadow, model, times)
            shadow.close()
        finally:
            processes.close()
    command = f"OMP_NUM_THREADS=1 python benchmarks/shadow_wait.py --times {times}"
    found = {"times": times, "wait_seconds": _summary(waits), "step_seconds": _summary(steps)}
    print(json.dumps(provenance(command) | found, indent=2))


def _measure(shadow: Shadow, model: LoadedModel, times: int) -> tuple[list[float], list[float]]:
    spec = default_spec(model.descriptor)
    made = model.run(spec, None, lambda _: None)
    longer = spec.model_copy(update={"num_inference_steps": 16})
    teacher = teacher_of(model, shadow.models, longer)
    assert teacher is not None, "the teacher of small-t2v-vdmini is not among the artifacts"  # noqa: S101
    starts: list[float] = []
    teacher.engine.pipeline.unet.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter()))
    shadow.start()
    moments = random.Random(0)  # noqa: S311  # the same moments each time
    waits, steps = [], []
    for _ in range(times):
        shadow.offer(Served("0" * 32, model, longer, None, made.frames, 1.0))
        while len(starts) < 3:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.8))
        came = time.perf_counter()
        with shadow.paused():
            waits.append(time.perf_counter() - came)
            steps += [later - earlier for earlier, later in pairwise(starts)]
            starts.clear()
    return waits, steps


def _summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    found = {"median": median(ordered), "p95": ordered[int(0.95 * len(ordered))], "most": ordered[-1]}
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=60)
    main(parser.parse_args().times)
