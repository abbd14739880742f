"""What becomes of a job whose clip is broken: real models, broken in earnest, on a real Redis."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
import torch
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini.plan import PruningPlan
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemKind
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.runner import Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec

JOB = "e" * 32
STUDENT, TEACHER = "small-t2v-vdmini", "small-t2v-teacher"


@pytest.fixture(scope="module")
def models(artifact_folders: tuple[Path, ...]) -> dict[str, LoadedModel]:
    torch.set_num_threads(1)  # on shared cores the threads of a small model mostly wait for each other
    return load(Settings(artifacts=tuple(path for path in artifact_folders if "t2v" in path.name), device="cpu"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    chosen = Settings(data_dir=tmp_path)
    chosen.results_dir.mkdir()
    return chosen


@pytest.fixture
def submit(redis_url: str, redis: Redis, settings: Settings, models: dict[str, LoadedModel]) -> Callable[..., Job]:
    """Run a job on some of the models, and tell what became of it."""

    def go(name: str = STUDENT, *, loaded: tuple[str, ...] = (STUDENT, TEACHER), check_clips: bool = True) -> Job:
        chosen = settings.model_copy(update={"check_clips": check_clips})
        runner = Runner(chosen, WorkerStore(redis, chosen, "me"), {each: models[each] for each in loaded})
        asyncio.run(accept(name))
        runner.run(JOB)
        return asyncio.run(read())

    async def accept(name: str) -> None:
        async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
            await ApiStore(client, settings).create(JOB, default_spec(models[name].descriptor), None)

    async def read() -> Job:
        async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
            return await ApiStore(client, settings).get(JOB)

    return go


@contextmanager
def broken(model: LoadedModel, value: float) -> Iterator[None]:
    """A model whose decoder gives one value, or none at all."""
    last = model.engine.pipeline.vae.decoder.conv_out
    kept = {name: tensor.clone() for name, tensor in last.state_dict().items()}
    try:
        with torch.no_grad():
            last.weight.fill_(0)
            last.bias.fill_(value)
        yield
    finally:
        last.load_state_dict(kept)


def escalations(redis: Redis, reason: str) -> float:
    ((cell, _),) = metrics.increment(metrics.ESCALATIONS, ("t2v", reason))
    return float(redis.hget(keys.METRICS, cell) or 0)


def comment(settings: Settings) -> str:
    (path,) = settings.results_dir.glob("*.mp4")
    with av.open(str(path)) as film:
        return film.metadata["comment"]


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "not_finite"), (0.3, "one_colour")])
def test_the_teacher_makes_what_the_compressed_model_got_wrong(submit, models, redis, settings, value, reason):
    with broken(models[STUDENT], value):
        job = submit()
    assert (job.status, job.escalated, job.escalation_reason) == ("succeeded", True, reason)
    assert (job.model, job.variant) == (TEACHER, "teacher")
    assert job.timings["discarded"] > 0
    assert job.timings["total"] >= sum(seconds for stage, seconds in job.timings.items() if stage != "total")
    assert escalations(redis, reason) == 1
    assert comment(settings).startswith(f"model={TEACHER} ")


def test_a_healthy_clip_is_not_escalated_and_its_file_says_what_made_it(submit, models, redis, settings):
    job = submit()
    assert (job.escalated, job.escalation_reason, job.model, job.variant) == (False, None, STUDENT, "vdmini")
    assert "discarded" not in job.timings
    plan = PruningPlan.of(reversed(models[STUDENT].descriptor.removed_blocks)).sha256
    assert comment(settings) == f"model={STUDENT} plan=sha256:{plan} seed={job.seed}"


def test_the_speedup_of_an_escalated_job_counts_both_runs(submit, models, redis):
    with broken(models[STUDENT], 0.3):
        submit()
        redis.delete(keys.job_key(JOB))
        job = submit()
    spent = sum(job.timings[stage] for stage in ("encode", "denoise", "decode", "discarded"))
    assert job.baseline_samples == 1
    assert job.speedup == pytest.approx(job.baseline_seconds / spent)


def test_a_broken_clip_of_the_teacher_fails_the_job(submit, models, settings):
    with broken(models[STUDENT], 0.3), broken(models[TEACHER], float("nan")):
        job = submit()
    assert (job.status, job.error.kind, job.error.job) == ("failed", ProblemKind.IMPLAUSIBLE_CLIP, JOB)
    assert TEACHER in job.error.detail
    assert "no numbers" in job.error.detail
    assert not list(settings.results_dir.iterdir())


def test_a_job_for_the_teacher_itself_is_not_run_twice(submit, models, redis):
    with broken(models[TEACHER], 0.3):
        job = submit(TEACHER)
    assert (job.status, job.error.kind) == ("failed", ProblemKind.IMPLAUSIBLE_CLIP)
    assert escalations(redis, "one_colour") == 0


def test_without_a_loaded_teacher_a_broken_clip_fails_the_job_and_says_so(submit, models):
    with broken(models[STUDENT], 0.3):
        job = submit(loaded=(STUDENT,))
    assert (job.status, job.error.kind) == ("failed", ProblemKind.IMPLAUSIBLE_CLIP)
    assert "no teacher is loaded" in job.error.detail


def test_the_check_can_be_turned_off(submit, models):
    with broken(models[STUDENT], 0.3):
        assert submit(check_clips=False).status == "succeeded"
