"""Jobs whose message the broker has lost, on a real Redis with real Celery messages."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from celery import Celery
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.reaper import publish_job
from vdmini_serve.api.store import ApiStore
from vdmini_serve.api.stray import StrayJobs, held_jobs
from vdmini_serve.contract.broker import create_celery
from vdmini_serve.contract.keys import queue_name
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings

SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip
FIRST, SECOND = "a" * 32, "b" * 32
PATIENCE_SECONDS = 0.2


@pytest.fixture
def settings(redis_url: str) -> Settings:
    broker = redis_url.rsplit("/", 1)[0] + "/2"
    for url in (broker, redis_url):
        with Redis.from_url(url) as client:
            client.flushdb()
    return Settings(broker_url=broker, jobs_url=redis_url, unpublished_seconds=PATIENCE_SECONDS)


@pytest.fixture
def broker(settings: Settings) -> Iterator["Redis[bytes]"]:
    with Redis.from_url(settings.broker_url.get_secret_value()) as client:
        yield client


def run(settings: Settings, action: Callable[[ApiStore, Celery], Awaitable[None]]) -> None:
    async def go() -> None:
        async with AsyncRedis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as client:
            store, app = ApiStore(client, settings), create_celery(settings)
            for job_id in (FIRST, SECOND):
                await store.create(job_id, SPEC, None)
                await publish_job(store, app, job_id, "t2v", "normal")
            try:
                await action(store, app)
            finally:
                app.close()

    asyncio.run(go())


def test_a_job_whose_message_is_gone_is_found_after_a_while_and_only_it(settings, broker):
    async def action(store: ApiStore, app: Celery) -> None:
        stray = StrayJobs(store, app)
        assert held_jobs(app) == {FIRST, SECOND}
        broker.rpop(queue_name("t2v"))  # the oldest, as a worker takes it
        assert held_jobs(app) == {SECOND}
        assert await stray.find() == []
        time.sleep(PATIENCE_SECONDS)
        assert await stray.find() == [FIRST]

    run(settings, action)


def test_of_several_replicas_one_publishes_a_stray_job_and_then_it_is_none_any_more(settings, broker):
    async def action(store: ApiStore, app: Celery) -> None:
        replicas = [StrayJobs(store, app), StrayJobs(store, app)]
        broker.rpop(queue_name("t2v"))
        for each in replicas:
            await each.find()
        time.sleep(PATIENCE_SECONDS)
        assert sorted([await each.find() for each in replicas]) == [[], [FIRST]]
        await publish_job(store, app, FIRST, "t2v", "normal")
        time.sleep(PATIENCE_SECONDS)
        assert [await each.find() for each in replicas] == [[], []]

    run(settings, action)


def test_a_job_that_a_worker_has_started_is_no_stray(settings, broker):
    async def action(store: ApiStore, app: Celery) -> None:
        stray = StrayJobs(store, app)
        broker.rpop(queue_name("t2v"))
        await stray.find()
        await store.redis.hset(f"vdmini:job:{FIRST}", "status", "running")
        time.sleep(PATIENCE_SECONDS)
        assert await stray.find() == []

    run(settings, action)
