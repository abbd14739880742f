"""`/metrics` with and without Redis: what is read when it is asked for, and what begins at 0."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.app import create_app
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.disk import Disk
from vdmini_serve.contract.model import WorkerBeat
from vdmini_serve.contract.problem import ProblemKind, problem
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.samples import SampleKey
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.baseline import BaselineStore
from vdmini_serve.worker.models import verified
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.volume import volume_of

JOB = "e" * 32
SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def settings(redis_url: str, redis: Redis, tmp_path: Path) -> Settings:
    urls = {"jobs_url": SecretStr(redis_url), "broker_url": SecretStr(redis_url[:-1] + "0")}
    return Settings(data_dir=tmp_path, min_free_bytes=0, **urls)


@pytest.fixture
def worker(redis: Redis, settings: Settings) -> WorkerStore:
    return WorkerStore(redis, settings, "w")


def told(settings: Settings) -> Callable[[metrics.Family], Samples]:
    """What `/metrics` says of a family: values of its labels -> number."""
    with TestClient(create_app(settings)) as client:
        text = client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(family: metrics.Family) -> Samples:
        found = (sample for sample in samples if sample.name == family.name)
        return {tuple(sample.labels[label] for label in family.labels): sample.value for sample in found}

    return of


def accept(settings: Settings, *, seconds_ago: float) -> None:
    async def go() -> None:
        async with AsyncRedis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as client:
            await ApiStore(client, settings).create(JOB, SPEC, None)
            await client.hset(keys.job_key(JOB), "created_at", time.time() - seconds_ago)

    asyncio.run(go())


def beat(**changes: object) -> WorkerBeat:
    usual = {"id": "w", "state": "idle", "models": ("m",), "device": "cuda:0 bfloat16", "at": time.time()}
    return WorkerBeat.model_validate(usual | changes)


def test_without_redis_the_metrics_say_so_and_how_much_room_there_is(tmp_path):
    nowhere = SecretStr("redis://127.0.0.1:9/0")
    of = told(Settings(broker_url=nowhere, jobs_url=nowhere, data_dir=tmp_path))
    assert of(metrics.REDIS_UP) == {(): 0}
    assert of(metrics.DISK_FREE).keys() == {("clips",)}
    assert of(metrics.JOBS) == of(metrics.WORKERS) == {}


@pytest.fixture
def hanging_redis() -> Iterator[SecretStr]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield SecretStr(f"redis://127.0.0.1:{server.getsockname()[1]}/0")


def test_a_redis_that_hangs_is_told_well_before_a_scrape_ends(hanging_redis, tmp_path):
    with TestClient(create_app(Settings(broker_url=hanging_redis, jobs_url=hanging_redis, data_dir=tmp_path))) as api:
        started = time.monotonic()
        text = api.get("/metrics").text
        assert time.monotonic() - started < 8
    assert "vdmini_redis_up 0.0" in text


def test_the_oldest_job_that_waits_is_told_and_a_running_one_is_not(settings, worker):
    accept(settings, seconds_ago=100)
    of = told(settings)
    assert of(metrics.REDIS_UP) == {(): 1}
    assert of(metrics.QUEUE_OLDEST)["vdmini.t2v.normal",] == pytest.approx(100, abs=5)
    assert sum(of(metrics.QUEUE_OLDEST).values()) < 110
    worker.claim(JOB)
    of = told(settings)
    assert sum(of(metrics.QUEUE_OLDEST).values()) == 0
    assert of(metrics.QUEUE_JOBS)["vdmini.t2v.normal", "running"] == 1


def test_failed_jobs_are_counted_by_reason_once(settings, worker):
    accept(settings, seconds_ago=1)
    claim = worker.claim(JOB)
    error = problem(ProblemKind.OUT_OF_MEMORY, "too little")
    assert worker.finish(claim, "failed", error=error)
    assert not worker.finish(claim, "failed", error=error)
    of = told(settings)
    assert of(metrics.JOB_FAILURES) == {("t2v", "vdmini", "out-of-memory"): 1}
    assert of(metrics.JOBS) == {("t2v", "vdmini", "failed"): 1}


def test_numbers_of_a_published_model_and_all_refusals_begin_at_0(settings, worker, redis, artifact_folders):
    models = verified([path for path in artifact_folders if "t2v" in path.name])
    worker.publish_models(models)
    worker.publish_beat(beat(models=tuple(model.name for model in models)))
    of = told(settings)
    assert of(metrics.JOB_FAILURES)["t2v", "vdmini", "worker-lost"] == 0
    assert set(of(metrics.REJECTED)) == {(kind.value,) for kind in ProblemKind}
    with TestClient(create_app(settings)) as client:
        text = client.get("/metrics").text
    size = 'size="64x64x8",steps="4",task="t2v",variant="teacher"'
    assert f"vdmini_job_latency_seconds_count{{{size}}} 0.0" in text
    assert 'vdmini_shadow_drift_count{metric="ssim",model="small-t2v-vdmini",task="t2v"} 0.0' in text
    ((labels, ratio),) = of(metrics.RECEIPT_SPEEDUP).items()
    (row,) = next(model.latency for model in models if model.latency)
    assert (labels[3], ratio) == ("small-t2v-vdmini", row["speedup"])


def test_room_and_memory_are_those_of_the_worker_that_has_least(settings, worker):
    roomy, full = (Disk(free_bytes=free, size_bytes=100) for free in (90, 5))
    peaks = {"m": 3_000}
    worker.publish_beat(beat(artifacts_disk=roomy, gpu_memory_peak_bytes=peaks))
    worker.publish_beat(beat(artifacts_disk=full, gpu_memory_peak_bytes={"m": 1_000}).model_copy(update={"id": "v"}))
    of = told(settings)
    assert of(metrics.DISK_FREE).keys() == {("artifacts",), ("clips",)}
    assert of(metrics.DISK_FREE)["artifacts",] == 5
    assert of(metrics.DISK_SIZE)["artifacts",] == 100
    assert of(metrics.GPU_MEMORY_PEAK) == {("m", "cuda:0 bfloat16"): 3_000}


def test_signs_of_life_of_older_and_newer_workers_are_understood(settings, redis):
    old = {"id": "old", "state": "idle", "models": ["m"], "at": time.time()}
    for sign in (old, {**old, "id": "new", "mood": "good"}):
        redis.hset(keys.WORKERS, sign["id"], json.dumps(sign))
    of = told(settings)
    assert of(metrics.WORKERS)["idle",] == 2
    assert of(metrics.GPU_MEMORY_PEAK) == {}


def test_a_baseline_and_a_speedup_tell_when_they_were_measured(settings, redis):
    key = SampleKey("t2v", "m", "big", "0" * 64, "cpu", "64x64x8", 4, "off")
    baselines = BaselineStore(redis)
    baselines.add(key, 1.0)
    assert told(settings)(metrics.SPEEDUP_AT) == {}
    baselines.add(key.of_teacher, 2.0)
    of, labels = told(settings), ("t2v", "64x64x8", "4", "off", "big", "cpu")
    assert of(metrics.SPEEDUP) == {(*labels, "m"): 2}
    assert of(metrics.BASELINE_AT)[labels] == pytest.approx(time.time(), abs=20)
    assert of(metrics.SPEEDUP_AT)[(*labels, "m")] <= of(metrics.BASELINE_AT)[labels]


def test_a_worker_looks_at_the_volume_of_its_artifacts(tmp_path):
    volume = volume_of(Settings(artifacts_dir=tmp_path))
    volume.look(tmp_path)
    assert volume.disk.free_bytes <= volume.disk.size_bytes
    volume.look(tmp_path / "gone")
    assert volume.disk is None
    assert volume_of(Settings()).path is None
