"""What is removed when, and what never: on a real Redis and a real folder."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.expiry import Expiry
from vdmini_serve.api.results import Results
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.job import Job, JobResult
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.ticket import ANYBODY, Ticket
from vdmini_serve.results.local import LocalStore
from vdmini_serve.results.names import parse_name, result_name
from vdmini_serve.results.store import StoreAwayError
from vdmini_serve.worker.store import Claim, WorkerStore

T = TypeVar("T")
JOB, OTHER = "a" * 32, "b" * 32
TTL, GRACE = 0.2, 0.3
OLD = 10_000
SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip


@dataclass
class Bench:
    """A job store, a folder of clips, and what cleans both up."""

    url: str
    redis: "Redis[str]"
    worker: WorkerStore
    settings: Settings

    def api(self, action: Callable[[Expiry], Awaitable[T]]) -> T:
        async def go() -> T:
            async with AsyncRedis.from_url(self.url, decode_responses=True) as client:
                store = ApiStore(client, self.settings)
                return await action(Expiry(store, Results(LocalStore(self.settings.results_dir))))

        return asyncio.run(go())

    def start(self, job_id: str = JOB, owner: str = ANYBODY) -> Claim:
        self.api(lambda expiry: expiry.store.create(job_id, SPEC, None, Ticket(owner=owner)))
        claim = self.worker.claim(job_id)
        assert claim is not None
        return claim

    def file(self, job_id: str, attempt: int = 1, *, age: float = 0) -> Path:
        path = self.settings.results_dir / result_name(job_id, attempt)
        path.write_bytes(b"clip")
        os.utime(path, (time.time() - age,) * 2)
        return path

    def succeed(self, job_id: str = JOB) -> Path:
        claim = self.start(job_id)
        path = self.file(job_id, claim.attempt)
        assert self.worker.finish(claim, "succeeded", result=JobResult(size_bytes=4, sha256="x"))
        return path

    def job(self, job_id: str = JOB) -> Job:
        return self.api(lambda expiry: expiry.store.get(job_id))

    def expire(self) -> int:
        return self.api(lambda expiry: expiry.expire_jobs())

    def remove(self) -> int:
        return self.api(lambda expiry: expiry.remove_files())

    def sweep(self) -> int:
        return self.api(lambda expiry: expiry.sweep())

    def counted(self, reason: str) -> float:
        ((cell, _),) = metrics.increment(metrics.RESULTS_REMOVED, (reason,))
        return float(self.redis.hget(keys.METRICS, cell) or 0)


@pytest.fixture
def bench(redis_url: str, tmp_path: Path) -> Iterator[Bench]:
    settings = Settings(data_dir=tmp_path, result_ttl_seconds=TTL, result_grace_seconds=GRACE, heartbeat_seconds=0.02)
    settings.results_dir.mkdir()
    with Redis.from_url(redis_url, decode_responses=True) as redis, Redis.from_url(redis_url) as plain:
        redis.flushdb()
        yield Bench(redis_url, redis, WorkerStore(plain, settings, "me"), settings)


def test_a_finished_job_says_when_it_expires_and_an_unfinished_one_does_not(bench):
    claim = bench.start()
    assert bench.job().expires_at is None
    bench.worker.finish(claim, "failed")
    job = bench.job()
    assert job.expires_at == pytest.approx(job.finished_at + TTL)


def test_an_expired_job_is_unknown_at_once_and_its_clip_is_gone_after_the_grace_time(bench):
    path = bench.succeed()
    assert bench.redis.get(keys.RESULT_BYTES) == "4"
    assert (bench.expire(), bench.job().status) == (0, "succeeded")
    time.sleep(TTL)
    assert (bench.expire(), bench.expire()) == (1, 0)
    with pytest.raises(ProblemError) as caught:
        bench.job()
    assert caught.value.problem.kind == ProblemKind.UNKNOWN_JOB
    assert not bench.api(lambda expiry: expiry.store.page(after=None, limit=10)).jobs
    assert (bench.remove(), path.exists()) == (0, True)
    time.sleep(GRACE)
    assert (bench.remove(), bench.remove(), path.exists()) == (1, 0, False)
    assert (bench.counted("expired"), bench.redis.get(keys.RESULT_BYTES)) == (1, "0")
    assert {bench.redis.type(key) for key in bench.redis.keys("*") if key != keys.METRICS} == {"string"}  # sums alone
    assert not bench.redis.keys(f"*{JOB}*")


def test_an_expired_job_leaves_the_list_of_its_api_key(bench):
    bench.worker.finish(bench.start(owner="somebody"), "failed")
    assert bench.redis.zcard(keys.jobs_of("somebody")) == 1
    assert bench.api(lambda expiry: expiry.forget(JOB))
    assert not bench.redis.exists(keys.jobs_of("somebody"))


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_without_a_clip_expires_too(bench, status):
    bench.worker.finish(bench.start(), status)
    time.sleep(TTL)
    assert bench.expire() == 1
    time.sleep(GRACE)
    assert (bench.remove(), bench.counted("expired"), bench.redis.zcard(keys.REMOVALS)) == (0, 0, 0)


def test_a_success_that_is_told_twice_since_its_answer_was_lost_stays_one(bench):
    claim = bench.start()
    result = JobResult(size_bytes=4, sha256="x")
    assert [bench.worker.finish(claim, "succeeded", result=result) for _ in range(2)] == [True, True]
    assert not bench.worker.finish(claim, "failed")
    assert (bench.job().status, bench.redis.get(keys.RESULT_BYTES)) == ("succeeded", "4")
    ((cell, _),) = metrics.outcome("t2v", "vdmini", "succeeded")
    assert float(bench.redis.hget(keys.METRICS, cell)) == 1


def test_a_live_job_and_its_file_are_never_touched_whatever_the_lists_say(bench):
    bench.start()
    path = bench.file(JOB, age=OLD)
    bench.redis.zadd(keys.EXPIRING, {JOB: 0})
    assert (bench.expire(), bench.api(lambda expiry: expiry.forget(JOB)), bench.sweep()) == (0, 0, 0)
    assert (bench.job().status, path.exists()) == ("running", True)


def test_files_of_all_attempts_go_with_their_job(bench):
    bench.start()
    first, claim = bench.file(JOB, 1), bench.worker.claim(JOB)
    second = bench.file(JOB, claim.attempt)
    bench.worker.finish(claim, "succeeded", result=JobResult(size_bytes=4))
    time.sleep(TTL)
    bench.expire()
    time.sleep(GRACE)
    assert (bench.remove(), first.exists(), second.exists()) == (2, False, False)


def test_a_job_that_a_client_deletes_is_unknown_at_once(bench):
    bench.succeed()
    assert bench.api(lambda expiry: expiry.forget(JOB))
    assert not bench.api(lambda expiry: expiry.forget(JOB))
    with pytest.raises(ProblemError):
        bench.job()


def test_a_store_that_is_away_keeps_the_file_on_the_list_until_it_is_back(bench):
    path = bench.succeed()
    bench.api(lambda expiry: expiry.forget(JOB))
    time.sleep(GRACE)
    folder, elsewhere = bench.settings.results_dir, bench.settings.results_dir.with_name("unplugged")
    folder.rename(elsewhere)
    folder.write_text("no folder any more")
    with pytest.raises(StoreAwayError):
        bench.remove()
    folder.unlink()
    elsewhere.rename(folder)
    time.sleep(GRACE)
    assert (bench.remove(), path.exists()) == (1, False)


def test_many_replicas_remove_everything_and_count_each_file_once(bench):
    ids = [f"{index:032x}" for index in range(30)]
    paths = [bench.succeed(job_id) for job_id in ids]
    time.sleep(TTL)

    async def together(what: Callable[[], Awaitable[int]]) -> int:
        return sum(await asyncio.gather(*(what() for _ in range(3))))

    assert bench.api(lambda expiry: together(expiry.expire_jobs)) == len(ids)
    time.sleep(GRACE)
    patient = replace(bench, settings=bench.settings.model_copy(update={"result_grace_seconds": 60}))
    assert patient.api(lambda expiry: together(expiry.remove_files)) == len(ids)
    assert not any(path.exists() for path in paths)
    assert (bench.counted("expired"), bench.redis.get(keys.RESULT_BYTES)) == (len(ids), "0")


def test_cleaning_up_goes_on_by_itself(bench):
    path = bench.succeed()

    async def until_it_is_gone(expiry: Expiry) -> None:
        task = asyncio.create_task(expiry.keep_clean())
        deadline = time.monotonic() + 10
        while path.exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        task.cancel()

    bench.api(until_it_is_gone)
    assert bench.redis.exists(keys.SWEEP)


def test_a_sweep_removes_what_dead_attempts_and_dead_processes_left_once_it_is_old_enough(bench):
    bench.start()
    old, claim = bench.file(JOB, 1, age=OLD), bench.worker.claim(JOB)
    alive = bench.file(JOB, claim.attempt, age=OLD)
    bench.worker.finish(bench.start(OTHER), "failed")
    of_a_failed_job, fresh = bench.file(OTHER, age=OLD), bench.file(OTHER, 2)
    bench.settings.scratch_dir.mkdir()
    left, being_written = (bench.settings.scratch_dir / name for name in ("left.mp4", "new.mp4"))
    for path, age in ((left, OLD), (being_written, 0)):
        path.write_bytes(b"half a")
        os.utime(path, (time.time() - age,) * 2)
    assert bench.sweep() == 3
    gone, kept = (old, of_a_failed_job, left), (alive, fresh, being_written)
    assert [path.exists() for path in (*gone, *kept)] == [False] * 3 + [True] * 3
    assert (bench.counted("stray"), bench.counted("partial")) == (2, 1)


def test_a_sweep_keeps_clips_of_unknown_jobs_as_long_as_jobs_are_kept(bench):
    lost = bench.file(JOB, age=TTL + GRACE + 1)
    recent = bench.file(OTHER, age=0)
    assert (bench.sweep(), lost.exists(), recent.exists()) == (1, False, True)


@pytest.mark.parametrize("name", ["notes.txt", "A" * 32 + ".1.mp4", JOB + ".0.mp4", JOB + ".mp4", f".{JOB}.1.mp4"])
def test_a_sweep_leaves_files_alone_that_are_no_results(bench, name):
    path = bench.settings.results_dir / name
    path.write_bytes(b"mine")
    os.utime(path, (0, 0))
    assert (parse_name(name), bench.sweep(), path.exists()) == (None, 0, True)


def test_a_download_that_has_begun_ends_whole_although_the_file_is_removed(bench):
    bench.succeed().write_bytes(content := os.urandom(600_000))

    async def download(expiry: Expiry) -> bytes:
        pieces = expiry.results.read(result_name(JOB, 1), 0, len(content) - 1)
        first = await anext(pieces)
        expiry.results.store.remove(result_name(JOB, 1))
        return first + b"".join([piece async for piece in pieces])

    assert bench.api(download) == content
