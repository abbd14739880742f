"""The worker's own parts on a real model and a real Redis, in this process."""

import asyncio
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError

from vdmini import video as module
from vdmini_serve.api.expiry import Expiry
from vdmini_serve.api.results import Results
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.results.store import open_store
from vdmini_serve.worker.models import LoadedModel, verified
from vdmini_serve.worker.runner import HUNG, Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.still import write_still
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec, warm_up

JOB = "b" * 32


@pytest.fixture(scope="module")
def models(artifact_folders: tuple[Path, ...]) -> dict[str, LoadedModel]:
    torch.set_num_threads(1)  # on shared cores the threads of a small model mostly wait for each other
    folders = [path for path in artifact_folders if "t2v" in path.name]
    return load(Settings(artifacts=tuple(folders), device="cpu"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    chosen = Settings(data_dir=tmp_path, heartbeat_seconds=0.05, baseline_runs=1)
    chosen.results_dir.mkdir()
    return chosen


@pytest.fixture
def runner(redis_url: str, settings: Settings, models: dict[str, LoadedModel]) -> Iterator[Runner]:
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
        yield Runner(settings, WorkerStore(redis, settings, "me"), models)


@pytest.fixture
def submit(redis_url: str, settings: Settings, models: dict[str, LoadedModel]) -> Callable[..., Job]:
    """Accept a job, let something happen to it, and tell what became of it."""

    def go(happens: Callable[[str], object], **changes: object) -> Job:
        student = next(model for model in models.values() if model.descriptor.variant == "vdmini")
        spec = default_spec(student.descriptor).model_copy(update=changes)
        asyncio.run(create(spec))
        happens(JOB)
        return asyncio.run(read())

    async def create(spec: JobSpec) -> None:
        async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
            await ApiStore(client, settings).create(JOB, spec, None)

    async def read() -> Job:
        async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
            return await ApiStore(client, settings).get(JOB)

    return go


def test_a_job_becomes_a_file_with_its_hash_and_a_still_and_leaves_nothing_else(runner, submit, settings):
    job = submit(runner.run)
    assert (job.status, job.attempts, job.error) == ("succeeded", 1, None)
    path, still = sorted(settings.results_dir.iterdir())
    assert (path.name, path.stat().st_size) == (f"{JOB}.1.mp4", job.size_bytes)
    assert still == path.with_suffix(".webp")


def test_the_still_of_a_clip_is_its_first_frame(runner, submit, settings):
    submit(runner.run)
    (path,) = settings.results_dir.glob("*.mp4")
    with av.open(path) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    with Image.open(path.with_suffix(".webp"), formats=("WEBP",)) as image:
        still = np.asarray(image.convert("RGB")).astype(float)
    assert still.shape == first.shape
    assert abs(still - first).mean() < 4
    assert abs(still - first).mean() < 0.2 * abs(still - first.mean()).mean()


def test_a_still_is_no_larger_than_a_list_needs(tmp_path):
    write_still(np.zeros((576, 1024, 3), np.uint8), tmp_path / "still.webp")
    with Image.open(tmp_path / "still.webp") as image:
        assert image.size == (512, 288)
    assert [path.name for path in tmp_path.iterdir()] == ["still.webp"]


def test_a_message_that_comes_twice_runs_once(runner, submit):
    assert submit(lambda job: (runner.run(job), runner.run(job))).attempts == 1


def test_warming_up_measures_teacher_and_student_and_then_no_more(runner, submit, models, settings):
    warm_up(models, runner.baselines, settings)
    job = submit(runner.run)
    assert job.baseline_samples == 1
    assert job.speedup == pytest.approx(
        job.baseline_seconds / sum(job.timings[stage] for stage in ("encode", "denoise", "decode"))
    )
    warm_up(models, runner.baselines, settings)
    assert submit(runner.run).baseline_samples == 1


def test_every_size_is_warm_before_the_first_job(runner, models, settings):
    name, model = next(iter(models.items()))
    limits = model.descriptor.limits.model_copy(update={"sizes": ((64, 64), (128, 64))})
    larger = LoadedModel(model.descriptor.model_copy(update={"limits": limits}), model.engine)
    seen = set()
    hook = model.engine.pipeline.unet.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].shape[-2:]))
    try:
        warm_up({name: larger}, runner.baselines, settings)
    finally:
        hook.remove()
    scale = model.engine.pipeline.vae_scale_factor
    assert seen == {(64 // scale, 64 // scale), (64 // scale, 128 // scale)}


def test_without_a_measured_teacher_there_is_no_speedup(runner, submit):
    job = submit(runner.run)
    assert (job.baseline_seconds, job.speedup) == (None, None)


def test_a_result_that_cannot_be_stored_fails_the_job_and_the_next_one_works(runner, submit, settings):
    settings.results_dir.rmdir()
    job = submit(runner.run)
    assert (job.status, job.error.kind, job.error.job) == ("failed", ProblemKind.STORAGE_FULL, JOB)
    settings.results_dir.mkdir()
    assert submit(runner.run).status == "succeeded"


def test_a_prompt_with_more_tokens_than_the_model_reads_fails_with_both_numbers(runner, submit):
    job = submit(runner.run, prompt="a red circle " * 60)
    assert job.error.kind == ProblemKind.PROMPT_TOO_LONG
    assert job.error.status == 422


def test_a_model_that_is_gone_is_told(runner, submit):
    assert submit(runner.run, model="gone").error.kind == ProblemKind.NO_MODEL_LOADED


def test_an_unexpected_error_is_told_without_its_text(runner, submit, monkeypatch):
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("a red secret")

    monkeypatch.setattr(LoadedModel, "run", explode)
    job = submit(runner.run)
    assert (job.status, job.error.kind) == ("failed", ProblemKind.INTERNAL_ERROR)
    assert "secret" not in job.error.detail


@pytest.mark.parametrize(("flag", "status"), [({"cancel": "1"}, "cancelled"), ({"attempts": "7"}, "running")])
def test_a_job_stops_at_the_next_step_when_cancelled_or_taken_over(runner, submit, settings, monkeypatch, flag, status):
    run = LoadedModel.run
    steps = []

    def run_and_interfere(self, spec, image, on_progress):
        def interfere(share: float) -> None:
            steps.append(share)
            runner.store.redis.hset(keys.job_key(JOB), mapping=flag)
            on_progress(share)

        return run(self, spec, image, interfere)

    monkeypatch.setattr(LoadedModel, "run", run_and_interfere)
    assert submit(runner.run).status == status
    assert len(steps) == 1
    assert not list(settings.results_dir.iterdir())


def test_a_job_that_is_cancelled_between_its_claim_and_its_first_step_is_cancelled(runner, submit, monkeypatch):
    claim = runner.store.claim

    def claim_and_cancel(job_id: str) -> object:
        found = claim(job_id)
        runner.store.redis.hset(keys.job_key(job_id), "cancel", "1")
        return found

    monkeypatch.setattr(runner.store, "claim", claim_and_cancel)
    job = submit(runner.run)
    assert (job.status, job.error) == ("cancelled", None)


def test_a_job_that_is_deleted_while_it_runs_stops_at_the_next_step_and_leaves_nothing(
    runner, submit, settings, redis_url, monkeypatch
):
    run = LoadedModel.run
    steps = []

    def run_and_delete(self, spec, image, on_progress):
        def interfere(share: float) -> None:
            steps.append(share)
            asyncio.run(delete(redis_url, settings))
            on_progress(share)

        return run(self, spec, image, interfere)

    monkeypatch.setattr(LoadedModel, "run", run_and_delete)
    with pytest.raises(ProblemError, match="there is no job"):
        submit(runner.run)
    assert len(steps) == 1
    assert not list(settings.results_dir.iterdir())
    assert not runner.store.redis.keys(f"*{JOB}*")
    monkeypatch.undo()
    assert submit(runner.run).status == "succeeded"


async def delete(redis_url: str, settings: Settings) -> None:
    async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
        await Expiry(ApiStore(client, settings), Results(open_store(settings))).delete(JOB)


def test_two_artifacts_of_one_name_and_none_at_all_are_refused(artifact_folders):
    from vdmini.artifact import ArtifactError

    with pytest.raises(ArtifactError, match="both named"):
        verified([artifact_folders[0], artifact_folders[0]])
    with pytest.raises(ArtifactError, match="no artifact"):
        verified([])


def test_a_picture_reaches_the_model_as_it_is(picture):
    from vdmini_serve.worker.models import _decode

    with Image.open(io.BytesIO(picture)) as image:
        assert _decode(picture).tobytes() == image.convert("RGB").tobytes()


class Meanwhile:
    """Holds an MP4 back until the next job's clip is being made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.denoising = threading.Event()
        write = module.write_mp4
        monkeypatch.setattr(module, "write_mp4", lambda *given, **more: (self.wait(), write(*given, **more)))

    def wait(self) -> None:
        self.denoising.wait(20)


def test_an_mp4_is_written_while_the_next_clip_is_made(redis_url, settings, models, monkeypatch):
    meanwhile = Meanwhile(monkeypatch)
    chosen = settings.model_copy(update={"overlap_mp4": True})
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
        runner = Runner(chosen, WorkerStore(redis, chosen, "me"), models)
        first, second = "c" * 32, "d" * 32
        asyncio.run(accept(redis_url, chosen, models, first, second))
        runner.run(first)
        assert redis.hget(keys.job_key(first), "status") == b"running"
        assert redis.exists(keys.lease_key(first))
        beat = runner.store.beat
        monkeypatch.setattr(
            runner.store, "beat", lambda claim, *share: (share and meanwhile.denoising.set(), beat(claim, *share))[1]
        )
        runner.run(second)
        runner.aftermath.close()
        assert [redis.hget(keys.job_key(job), "status") for job in (first, second)] == [b"succeeded"] * 2
        assert len(list(chosen.results_dir.glob("*.mp4"))) == 2


async def accept(redis_url: str, settings: Settings, models: dict[str, LoadedModel], *ids: str) -> None:
    student = next(model for model in models.values() if model.descriptor.variant == "vdmini")
    async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
        for job_id in ids:
            await ApiStore(client, settings).create(job_id, default_spec(student.descriptor), None)


def test_a_store_that_is_away_while_an_mp4_is_committed_leaves_the_job_to_the_reaper(
    redis_url, settings, models, monkeypatch, caplog
):
    chosen = settings.model_copy(update={"overlap_mp4": True})
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
        runner = Runner(chosen, WorkerStore(redis, chosen, "me"), models)
        asyncio.run(accept(redis_url, chosen, models, JOB))

        def away(*_: object, **__: object) -> bool:
            raise RedisConnectionError("away")

        monkeypatch.setattr(runner.store, "finish", away)
        runner.run(JOB)
        runner.aftermath.close()
        assert redis.hget(keys.job_key(JOB), "status") == b"running"
        assert "could not be stored" in caplog.text
        renewed = [thread for thread in threading.enumerate() if thread.name == "lease"]
        assert not renewed


HANG = """
import sys, time
from pathlib import Path
from redis import Redis
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker import models
from vdmini_serve.worker.runner import HUNG, Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore

url, data, artifact, job = sys.argv[1:]
settings = Settings(
    jobs_url=url, data_dir=data, artifacts=(Path(artifact),), device="cpu", heartbeat_seconds=0.1, step_seconds=0.5
)
models.LoadedModel.run = lambda *_: time.sleep(60)  # a step that never comes back
Runner(settings, WorkerStore(Redis.from_url(url), settings, "me"), load(settings)).run(job)
"""


def test_a_child_that_hangs_ends_and_its_job_can_be_given_to_another(
    redis_url, runner, submit, settings, artifact_folders, tmp_path
):
    (artifact,) = [path for path in artifact_folders if path.parts[-2:] == ("artifacts", "small-t2v")]

    def hang(job_id: str) -> None:
        command = [sys.executable, "-c", HANG, redis_url, str(tmp_path), str(artifact), job_id]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ended.returncode == HUNG, ended.stderr
        runner.run(job_id)

    job = submit(hang)
    assert (job.status, job.attempts) == ("succeeded", 2)
