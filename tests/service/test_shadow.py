"""Re-runs on the teacher: which jobs, what they count, and how they give way to real work. Real models and Redis."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from redis import Redis

from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.samples import sample_key
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker import shadow as module
from vdmini_serve.worker.drift import drift
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.shadow import Served, Shadow, chosen
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec

STUDENT, TEACHER = "small-t2v-vdmini", "small-t2v-teacher"


@pytest.fixture(scope="module")
def models(artifact_folders: tuple[Path, ...]) -> dict[str, LoadedModel]:
    torch.set_num_threads(1)  # on shared cores the threads of a small model mostly wait for each other
    found = load(Settings(artifacts=tuple(path for path in artifact_folders if "t2v" in path.name), device="cpu"))
    for name in found:  # as a worker does when it warms up
        found[name]
    return found


@pytest.fixture
def shadow(redis: Redis, models: dict[str, LoadedModel]) -> Iterator[Shadow]:
    settings = Settings(shadow_share=1, shadow_idle_seconds=0.2)
    made = Shadow(settings, WorkerStore(redis, settings, "me"), models)
    yield made
    made.close()


@pytest.fixture
def served(models: dict[str, LoadedModel]) -> Served:
    model = models[STUDENT]
    spec = default_spec(model.descriptor)
    made = model.run(spec, None, lambda _: None)
    return Served("f" * 32, model, spec, None, made.frames, sum(made.seconds.values()))


@pytest.fixture
def long(served: Served) -> Served:
    """One whose re-run takes a second or more."""
    return replace(served, spec=served.spec.model_copy(update={"num_inference_steps": 16}))


def counted(redis: Redis, family: metrics.Family, *labels: str) -> float:
    """What a counter holds, or how often a histogram was observed."""
    found = 0.0
    for field, value in redis.hgetall(keys.METRICS).items():
        name, of, part = metrics.parse_cell(field.decode())
        if name == family.name and set(labels) <= set(of) and part != "sum":
            found += float(value)
    return found


def test_the_share_of_jobs_is_right_and_the_choice_is_always_the_same():
    ids = [f"{index:032x}" for index in range(4000)]
    taken = [job_id for job_id in ids if chosen(job_id, 0.1)]
    assert 320 < len(taken) < 480
    assert taken == [job_id for job_id in ids if chosen(job_id, 0.1)]
    assert not any(chosen(job_id, 0) for job_id in ids)
    assert all(chosen(job_id, 1) for job_id in ids)


def test_a_re_run_counts_a_baseline_sample_a_speedup_and_drift(shadow, served, redis, models):
    assert shadow.re_run(served)
    teacher = models[TEACHER]
    timing = shadow.baselines.timing(sample_key(teacher.descriptor, served.spec, teacher.device))
    assert timing.samples == 1
    assert counted(redis, metrics.SHADOW_RUNS, "compared") == 1
    assert counted(redis, metrics.SHADOW_SPEEDUP, STUDENT) == 1
    for metric in ("psnr", "ssim", "motion"):
        assert counted(redis, metrics.SHADOW_DRIFT, "t2v", STUDENT, metric) == 1
    (ratio,) = [
        float(value)
        for field, value in redis.hgetall(keys.METRICS).items()
        if json.loads(field) == [metrics.SHADOW_SPEEDUP.name, ["t2v", STUDENT], "sum"]
    ]
    assert ratio == pytest.approx(timing.seconds / served.engine_seconds)


def test_the_same_clip_has_no_drift_and_more_motion_shows():
    ramp = np.broadcast_to(np.linspace(0, 200, 64).astype(np.uint8)[None, None, :, None], (6, 64, 64, 3))
    slow = np.stack([np.roll(frame, index, axis=1) for index, frame in enumerate(ramp)])
    fast = np.stack([np.roll(frame, 2 * index, axis=1) for index, frame in enumerate(ramp)])
    assert drift(slow, slow) == {"psnr": 60.0, "ssim": pytest.approx(1), "motion": pytest.approx(1)}
    found = drift(fast, slow)
    assert found["motion"] > 1.5
    assert found["psnr"] < 30
    assert found["ssim"] < 0.95
    assert "motion" not in drift(slow, ramp)


def test_an_idle_worker_re_runs_what_was_served_by_itself(shadow, served, redis, eventually):
    shadow.start()
    shadow.offer(served)
    eventually(lambda: counted(redis, metrics.SHADOW_RUNS, "compared") == 1, seconds=30)


def test_nothing_is_kept_of_a_job_outside_the_share_or_without_its_teacher(redis, models, served):
    settings = Settings(shadow_share=0)
    none = Shadow(settings, WorkerStore(redis, settings, "me"), models)
    none.offer(served)
    alone = Shadow(Settings(shadow_share=1), none.store, {STUDENT: models[STUDENT]})
    alone.offer(served)
    assert not none._waiting
    assert not alone._waiting


def test_clips_are_few_and_forgotten_in_time_even_while_work_goes_on(shadow, served, monkeypatch, eventually):
    for _ in range(3 * module.KEPT_CLIPS):
        shadow.offer(served)
    assert len(shadow._waiting) == module.KEPT_CLIPS
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.3)
    with shadow.paused():
        shadow.start()
        eventually(lambda: not shadow._waiting, seconds=5)


class Steps:
    """When a model's U-Net starts a step."""

    def __init__(self, model: LoadedModel) -> None:
        self.at: list[float] = []
        self.running = threading.Event()
        self._hook = model.engine.pipeline.unet.register_forward_pre_hook(self._note)

    def _note(self, *_: object) -> None:
        self.at.append(time.perf_counter())
        if len(self.at) > 2:
            self.running.set()

    def close(self) -> None:
        self._hook.remove()

    def take(self) -> list[float]:
        """Seconds of the steps so far, which are then forgotten."""
        spans = [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]
        self.at.clear()
        self.running.clear()
        return spans


def test_real_work_waits_for_one_step_of_a_re_run_at_most(shadow, models, long, redis, eventually):
    shadow.start()
    steps = Steps(models[TEACHER])
    waits, spans = [], []
    try:
        shadow.offer(long)
        for _ in range(2):
            assert steps.running.wait(20)
            before = len(steps.at)
            came = time.perf_counter()
            with shadow.paused():
                waits.append(time.perf_counter() - came)
                assert len(steps.at) - before <= 1
                during = len(steps.at)
                time.sleep(0.05)
                assert len(steps.at) == during
            spans += steps.take()
    finally:
        steps.close()
    assert max(waits) <= max(spans) + 0.05
    eventually(lambda: counted(redis, metrics.SHADOW_RUNS, "compared") == 1, seconds=30)
    assert counted(redis, metrics.SHADOW_RUNS, "preempted") == 2


def test_a_re_run_that_is_as_good_as_done_when_work_comes_is_counted(shadow, served, redis, models):
    last = models[TEACHER].engine.pipeline.vae.decoder.conv_out
    hook = last.register_forward_hook(lambda *_: shadow._work_came.set())
    try:
        assert shadow.re_run(served)
    finally:
        hook.remove()
    assert counted(redis, metrics.SHADOW_RUNS, "compared") == 1


def test_a_re_run_that_fails_is_logged_and_the_next_one_works(shadow, served, redis, models, eventually, caplog):
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise MemoryError

    hook = models[TEACHER].engine.pipeline.unet.conv_in.register_forward_pre_hook(fail)
    shadow.start()
    shadow.offer(served)
    assert failed.wait(20)
    hook.remove()
    eventually(lambda: f"the re-run of job {served.job_id} failed" in caplog.text, seconds=10)
    shadow.offer(served)
    eventually(lambda: counted(redis, metrics.SHADOW_RUNS, "compared") == 1, seconds=30)


def test_closing_stops_a_re_run_at_its_next_step(shadow, models, long):
    steps = Steps(models[TEACHER])
    shadow.start()
    shadow.offer(long)
    assert steps.running.wait(20)
    shadow.close()
    steps.close()
    assert len(steps.at) < 16
    assert not shadow._waiting
