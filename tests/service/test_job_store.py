"""The job store's promises, on a real Redis."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.job import Job, JobResult
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.soft_shutdown import wait_for_jobs
from vdmini_serve.worker.store import WorkerStore

T = TypeVar("T")
SETTINGS = Settings(lease_seconds=0.3, max_attempts=3, max_active_jobs=5, unpublished_seconds=0.1)
SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip
JOB = "a" * 32


@pytest.fixture
def worker(redis: "Redis[bytes]") -> WorkerStore:
    return WorkerStore(redis, SETTINGS, "worker-1")


@pytest.fixture
def other(redis: "Redis[bytes]") -> WorkerStore:
    return WorkerStore(redis, SETTINGS, "worker-2")


@pytest.fixture
def api(redis_url: str) -> Callable[[Callable[[ApiStore], Awaitable[T]]], T]:
    def run(action: Callable[[ApiStore], Awaitable[T]]) -> T:
        async def go() -> T:
            async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
                return await action(ApiStore(client, SETTINGS))

        return asyncio.run(go())

    return run


@pytest.fixture
def accepted(api: Callable[..., object], redis: "Redis[bytes]") -> Callable[[], Job]:
    api(lambda store: store.create(JOB, SPEC, b"png"))
    return lambda: api(lambda store: store.get(JOB))  # type: ignore[return-value]


def outcomes(redis: "Redis[bytes]", status: str) -> float:
    (field, _), *_ = metrics.outcome("t2v", "vdmini", status)
    return float(redis.hget(keys.METRICS, field) or 0)


def test_a_job_goes_from_queued_over_running_to_succeeded_and_is_counted_once(worker, accepted, redis):
    assert accepted().status == "queued"
    claim = worker.claim(JOB)
    assert claim is not None
    assert (claim.attempt, claim.image, claim.spec) == (1, b"png", SPEC)
    assert worker.beat(claim, 0.5) == "ok"
    assert (accepted().status, accepted().progress) == ("running", 0.5)
    assert worker.finish(claim, "succeeded", result=JobResult(sha256="x", size_bytes=3))
    job = accepted()
    assert (job.status, job.progress, job.sha256, job.finished) == ("succeeded", 1, "x", True)
    assert not worker.finish(claim, "failed")
    assert accepted().status == "succeeded"
    assert (outcomes(redis, "succeeded"), outcomes(redis, "failed")) == (1, 0)


def test_finishing_twice_in_one_attempt_is_confirmed_and_counted_once(worker, other, accepted, redis):
    claim = worker.claim(JOB)
    assert claim is not None
    assert worker.finish(claim, "succeeded", result=JobResult(sha256="x", size_bytes=3))
    assert worker.finish(claim, "succeeded", result=JobResult(sha256="x", size_bytes=3))  # its answer had been lost
    assert outcomes(redis, "succeeded") == 1


def test_a_redelivered_message_of_a_job_that_lives_elsewhere_is_dropped(worker, other, accepted):
    assert worker.claim(JOB) is not None
    assert other.claim(JOB) is None
    assert accepted().attempts == 1


def test_a_redelivered_message_of_a_finished_job_is_dropped(worker, accepted):
    worker.finish(worker.claim(JOB), "succeeded", result=JobResult())
    assert worker.claim(JOB) is None


def test_the_same_worker_takes_a_job_of_its_dead_child_at_once_and_the_old_attempt_cannot_commit(worker, accepted):
    dead, alive = worker.claim(JOB), worker.claim(JOB)
    assert (dead.attempt, alive.attempt) == (1, 2)
    assert worker.beat(dead, 0.9) == "lost"
    assert not worker.finish(dead, "succeeded", result=JobResult(sha256="old"))
    assert worker.finish(alive, "succeeded", result=JobResult(sha256="new"))
    assert accepted().sha256 == "new"


def test_another_worker_takes_a_job_whose_lease_ran_out(worker, other, accepted):
    worker.claim(JOB)
    time.sleep(SETTINGS.lease_seconds + 0.1)
    assert other.claim(JOB).attempt == 2


def test_the_reaper_gives_a_lost_job_back_to_the_queue(worker, accepted, api):
    worker.claim(JOB)
    assert not api(lambda store: store.recover(JOB))
    time.sleep(SETTINGS.lease_seconds + 0.1)
    assert api(lambda store: store.recover(JOB))
    assert accepted().status == "queued"


def test_the_reaper_publishes_a_job_that_was_accepted_but_never_published(accepted, api):
    assert not api(lambda store: store.recover(JOB))
    time.sleep(SETTINGS.unpublished_seconds + 0.05)
    assert api(lambda store: store.recover(JOB))
    api(lambda store: store.mark_published(JOB))
    assert not api(lambda store: store.recover(JOB))


@pytest.mark.parametrize("finder", ["redelivery", "reaper"])
def test_a_job_that_kills_its_worker_three_times_fails_with_the_reason(finder, worker, accepted, api, redis):
    for _ in range(SETTINGS.max_attempts):
        assert worker.claim(JOB) is not None
    if finder == "reaper":
        time.sleep(SETTINGS.lease_seconds + 0.1)
        assert not api(lambda store: store.recover(JOB))
    else:
        assert worker.claim(JOB) is None
    job = accepted()
    assert (job.status, job.error.kind) == ("failed", ProblemKind.WORKER_LOST)
    assert outcomes(redis, "failed") == 1


def test_a_queued_job_is_cancelled_at_once_and_once(accepted, api, worker, redis):
    assert api(lambda store: store.cancel(JOB)).status == "cancelled"
    assert api(lambda store: store.cancel(JOB)).status == "cancelled"
    assert outcomes(redis, "cancelled") == 1
    assert worker.claim(JOB) is None


def test_a_running_job_is_told_to_stop_at_its_next_sign_of_life(accepted, api, worker):
    claim = worker.claim(JOB)
    assert api(lambda store: store.cancel(JOB)).status == "running"
    assert worker.beat(claim, 0.3) == "cancel"
    assert worker.finish(claim, "cancelled")
    assert accepted().status == "cancelled"


def test_a_job_that_was_to_be_cancelled_when_its_worker_died_is_not_started_again(accepted, api, worker):
    worker.claim(JOB)
    api(lambda store: store.cancel(JOB))
    assert worker.claim(JOB) is None
    assert accepted().status == "cancelled"


def test_cancelling_a_finished_job_changes_nothing(accepted, api, worker):
    worker.finish(worker.claim(JOB), "succeeded", result=JobResult())
    assert api(lambda store: store.cancel(JOB)).status == "succeeded"


def test_a_finished_job_leaves_neither_its_image_nor_its_lease(accepted, worker, redis):
    worker.finish(worker.claim(JOB), "succeeded", result=JobResult())
    assert not redis.exists(keys.image_key(JOB), keys.lease_key(JOB))
    assert not redis.zcard(keys.ACTIVE)


def test_a_full_queue_refuses_the_next_job(api, redis):
    for index in range(SETTINGS.max_active_jobs):
        api(lambda store, index=index: store.create(f"{index:032}", SPEC, None))
    with pytest.raises(ProblemError) as caught:
        api(lambda store: store.create("f" * 32, SPEC, None))
    assert caught.value.problem.status == 429


def test_pages_list_every_job_once_newest_first(api, redis):
    for index in range(5):
        api(lambda store, index=index: store.create(f"{index:032}", SPEC, None))
    first = api(lambda store: store.page(after=None, limit=3))
    second = api(lambda store: store.page(after=first.next, limit=3))
    assert [int(job.id) for job in (*first.jobs, *second.jobs)] == [4, 3, 2, 1, 0]
    assert second.next is None


def test_a_job_as_clients_see_it_has_no_prompt(accepted):
    assert "secret" not in accepted().model_dump_json()


def test_a_worker_that_ends_waits_for_the_job_in_its_hands_and_not_for_others(worker, other, accepted, redis):
    claim = other.claim(JOB)
    assert claim is not None
    assert wait_for_jobs(redis, "worker-1", seconds=0)
    assert not wait_for_jobs(redis, "worker-2", seconds=0.1)
    threading.Timer(0.1, other.finish, (claim, "succeeded")).start()
    started = time.monotonic()
    assert wait_for_jobs(redis, "worker-2", seconds=5)
    assert time.monotonic() - started < 1
