"""What `/readyz` says of workers and of the disk, with a real Redis and the real application."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.app import create_app
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys
from vdmini_serve.contract.model import WorkerBeat
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.store import WorkerStore

JOB = "d" * 32
SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    urls = {"jobs_url": SecretStr(redis_url), "broker_url": SecretStr(redis_url[:-1] + "0")}
    return Settings(data_dir=tmp_path, stall_seconds=30, min_free_bytes=0, **urls)


@pytest.fixture
def beat(redis_url: str, settings: Settings) -> Iterator[Callable[..., None]]:
    """Give a sign of life of a worker that has been in its state for some seconds."""
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()

        def go(state: str, *, seconds: float = 100, worker: str = "w1", models: tuple[str, ...] = ("m",)) -> None:
            now = time.time()
            beat = WorkerBeat(id=worker, state=state, models=models, at=now, since=now - seconds)
            WorkerStore(redis, settings, worker).publish_beat(beat)

        yield go


@pytest.fixture
def waiting_job(redis_url: str, settings: Settings) -> Callable[[float], None]:
    """Accept and publish a job that the broker has had for some seconds."""

    def go(seconds: float) -> None:
        async def accept() -> None:
            async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
                store = ApiStore(client, settings)
                await store.create(JOB, SPEC, None)
                await store.mark_published(JOB)
                published_at = float(await client.hget(keys.job_key(JOB), "published_at"))
                await client.hset(keys.job_key(JOB), "published_at", published_at - seconds)

        asyncio.run(accept())

    return go


def ready(settings: Settings) -> tuple[int, dict]:
    with TestClient(create_app(settings)) as client:
        response = client.get("/readyz")
        return response.status_code, response.json()


def test_an_idle_worker_with_models_and_room_on_the_disk_is_ready(settings, beat):
    beat("idle")
    status, found = ready(settings)
    assert (status, found["status"], found["stalled"]) == (200, "ready", [])
    assert found["free_bytes"] > 0


@pytest.mark.parametrize("state", ["loading", "warming"])
def test_a_worker_that_still_loads_is_not_ready(settings, beat, state):
    beat(state, models=())
    assert ready(settings)[0] == 503


def test_a_full_disk_is_not_ready_and_named_with_both_numbers(settings, beat):
    beat("idle")
    status, found = ready(settings.model_copy(update={"min_free_bytes": 2**60}))
    assert status == 503
    assert str(2**60) in found["status"]
    assert "VDMINI_MIN_FREE_BYTES" in found["status"]


def test_a_worker_that_idles_beside_a_job_of_its_own_is_stalled(settings, beat, waiting_job):
    beat("idle")
    waiting_job(100)
    status, found = ready(settings)
    assert (status, found["stalled"]) == (503, ["w1"])
    assert "w1" in found["status"]


@pytest.mark.parametrize(
    ("state", "idle_seconds", "waited_seconds", "models"),
    [("busy", 100, 100, ("m",)), ("idle", 1, 100, ("m",)), ("idle", 100, 1, ("m",)), ("idle", 100, 100, ("other",))],
    ids=["busy", "idle for a moment", "the job just came", "the job is for another model"],
)
def test_a_worker_is_not_stalled_when(settings, beat, waiting_job, state, idle_seconds, waited_seconds, models):
    beat(state, seconds=idle_seconds, models=models)
    waiting_job(waited_seconds)
    assert ready(settings)[0] == 200


def test_one_stalled_worker_beside_a_good_one_is_told_and_counted_but_the_service_is_ready(settings, beat, waiting_job):
    beat("idle")
    beat("busy", worker="w2")
    waiting_job(100)
    assert (ready(settings)[0], ready(settings)[1]["stalled"]) == (200, ["w1"])
    with TestClient(create_app(settings)) as client:
        assert 'vdmini_workers{state="stalled"} 1.0' in client.get("/metrics").text
