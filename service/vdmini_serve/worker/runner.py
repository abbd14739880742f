"""One job from claim to its last state. Models, store and baseline do their own parts."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from vdmini_serve.contract import metrics
from vdmini_serve.contract.job import ENGINE_STAGES, JobResult
from vdmini_serve.contract.problem import Problem, ProblemError, ProblemKind, problem
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.samples import engine_seconds, sample_key
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.tracing import HandsOn, Span, Tracer
from vdmini_serve.results.store import open_store
from vdmini_serve.worker.aftermath import Aftermath
from vdmini_serve.worker.baseline import BaselineStore
from vdmini_serve.worker.delivery import Delivered, Delivery
from vdmini_serve.worker.escalation import Clip, checked_clip
from vdmini_serve.worker.gpu_memory import MemoryPeaks
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.shadow import Served, Shadow
from vdmini_serve.worker.still import write_still
from vdmini_serve.worker.store import Claim, WorkerStore

if TYPE_CHECKING:
    from vdmini.engine import Generation

log = logging.getLogger(__name__)


HUNG = 70
"""Exit code of a child that ended itself."""


class LostClaimError(Exception):
    """The job was given to another attempt; this one must leave it alone."""


class CancelledError(Exception):
    """The client no longer wants the job."""


class Runner:
    """Runs jobs; the next one may begin while the last one's MP4 is written.

    Args:
        settings: where results go, how often to renew the lease.
        store: the jobs.
        models: by name.
        shadow: is offered what was served; nothing is re-run without it.
        tracer: makes a span of each attempt.
    """

    def __init__(
        self,
        settings: Settings,
        store: WorkerStore,
        models: Mapping[str, LoadedModel],
        *,
        shadow: Shadow | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.shadow, self.tracer = shadow, tracer or HandsOn()
        self.settings, self.store, self.models = settings, store, models
        self.baselines = BaselineStore(store.redis)
        self.peaks = MemoryPeaks()
        self._stepped_at = time.monotonic()
        self.delivery = Delivery(settings, open_store(settings))
        on_a_gpu = any(not model.device.startswith("cpu") for model in islice(models.values(), 1))
        self.aftermath = Aftermath(beside=on_a_gpu if settings.overlap_mp4 is None else settings.overlap_mp4)

    def run(self, job_id: str) -> None:
        """Run a job that a message names, unless it is finished or alive elsewhere.

        When it returns the clip is made, but with `overlap_mp4` its file may not be written yet. Should the worker die
        then, the job's lease runs out and the reaper gives it back to the queue.
        """
        claim = self.store.claim(job_id)
        if claim is None:
            log.info("nothing to do for job %s", job_id)
            return
        with ExitStack() as held:
            held.enter_context(self._answering(claim))
            span: Span = held.enter_context(self.tracer.span("job", claim.traceparent, _traced(claim)))
            held.enter_context(self._lease(claim))
            started, started_at = time.perf_counter(), time.time()
            model = self._model(claim)
            clip = self._clip(model, claim)
            generated = time.perf_counter() - started
            self.aftermath.submit(partial(self._store, held.pop_all(), claim, clip, generated, span, started_at))

    @contextmanager
    def _answering(self, claim: Claim) -> Iterator[None]:
        """Whatever goes wrong inside becomes the job's last state."""
        try:
            yield
        except RedisError:
            raise  # whether the job was finished is unknown: the file stays, the job is given to an attempt again
        except Exception as error:  # noqa: BLE001  # the edge of a job; logged with its traceback below
            self.delivery.withdraw(claim.id, claim.attempt)
            self._give_up(claim, error)

    def _give_up(self, claim: Claim, error: Exception) -> None:
        match error:
            case LostClaimError():
                log.warning("job %s attempt %d was taken over", claim.id, claim.attempt)
            case CancelledError():
                self.store.finish(claim, "cancelled")
            case ProblemError():
                self.store.finish(claim, "failed", error=error.problem.model_copy(update={"job": claim.id}))
            case _:
                log.error(
                    "job %s attempt %d failed", claim.id, claim.attempt, exc_info=error, extra={"job_id": claim.id}
                )
                self.store.finish(claim, "failed", error=_explain(error, claim.id))

    def _model(self, claim: Claim) -> LoadedModel:
        model = self.models.get(claim.spec.model)
        if model is None:
            detail = f"model {claim.spec.model} is not loaded here any more; send the request again"
            raise ProblemError(ProblemKind.NO_MODEL_LOADED, detail)
        return model

    def _clip(self, model: LoadedModel, claim: Claim) -> Clip:
        if not self.settings.check_clips:
            return Clip(model, self._generate(model, claim))
        return checked_clip(
            model,
            claim.spec,
            claim.image,
            models=self.models,
            generate=lambda each: self._generate(each, claim),
            on_escalation=lambda reason: self.store.count(
                metrics.increment(metrics.ESCALATIONS, (claim.spec.task, reason))
            ),
        )

    def _store(
        self, held: ExitStack, claim: Claim, clip: Clip, generated_seconds: float, span: Span, started_at: float
    ) -> None:
        """Write the MP4 and commit it; the job's lease is in `held`."""
        self._stepped_at = time.monotonic()
        with held:
            model, stages = clip.model, clip.stages
            delivered = self.delivery.deliver(claim.id, claim.attempt, partial(_write, clip, claim.spec))
            self.delivery.add_still(claim.id, claim.attempt, partial(write_still, clip.generation.frames[0]))
            stages["mp4"] = delivered.seconds
            span.parts(started_at, [(name, stages[name]) for name in (*ENGINE_STAGES, "mp4")])
            observed = _observations(claim, clip, stages, generated_seconds + stages["mp4"])
            result = self._result(clip, claim, stages, delivered)
            if not self.store.finish(claim, "succeeded", result=result, increments=observed):
                raise LostClaimError(claim.id)
            self.baselines.add(sample_key(model.descriptor, claim.spec, model.device), engine_seconds(stages))
            if self.shadow is not None and clip.reason is None:
                frames = clip.generation.frames
                self.shadow.offer(Served(claim.id, model, claim.spec, claim.image, frames, engine_seconds(stages)))

    def _generate(self, model: LoadedModel, claim: Claim) -> "Generation":
        from vdmini.engine import VideoInterrupted  # imports torch

        answers: list[str] = []

        def on_progress(share: float) -> None:
            self._stepped_at = time.monotonic()
            answer = self.store.beat(claim, share)
            if answer != "ok":
                answers.append(answer)
                raise VideoInterrupted(answer)

        try:
            on_progress(0.0)
            with self.peaks.watching(model.descriptor.name, model.engine.torch_device):
                return model.run(claim.spec, claim.image, on_progress)
        except VideoInterrupted:
            raise (CancelledError if answers == ["cancel"] else LostClaimError)(claim.id) from None

    def _result(self, clip: Clip, claim: Claim, stages: Mapping[str, float], delivered: Delivered) -> JobResult:
        model = clip.model
        key = sample_key(model.descriptor, claim.spec, model.device)
        baseline = self.baselines.timing(key.of_teacher)
        now = time.time()
        return JobResult(
            timings={"queue": claim.queued_seconds, **stages, "total": now - claim.created_at},
            baseline_seconds=baseline.seconds if baseline else None,
            baseline_samples=baseline.samples if baseline else None,
            baseline_age_seconds=max(0.0, now - baseline.measured_at) if baseline else None,
            speedup=baseline.seconds / (engine_seconds(stages) + clip.discarded_seconds) if baseline else None,
            device=model.device,
            size_bytes=delivered.size_bytes,
            sha256=delivered.sha256,
            model=model.descriptor.name,
            variant=model.descriptor.variant,
            escalated=clip.reason is not None,
            escalation_reason=clip.reason,
        )

    @contextmanager
    def _lease(self, claim: Claim) -> Iterator[None]:
        """Renew the lease in the background: a denoising step may last longer than it."""
        done = threading.Event()
        self._stepped_at = time.monotonic()

        def renew() -> None:
            while not done.wait(self.settings.heartbeat_seconds):
                self._end_if_it_hangs(claim)
                try:
                    self.store.beat(claim)
                except RedisError as error:
                    log.warning("lease of job %s not renewed: %s", claim.id, error)

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _end_if_it_hangs(self, claim: Claim) -> None:
        """Nothing else ends a step that never comes back, on a GPU say: this thread would renew the lease for ever.

        The parent starts another child, and the job goes back to the queue, at most as often as any other.
        """
        still = time.monotonic() - self._stepped_at
        if still > self.settings.step_seconds:
            log.critical("no step in %.0f s: this process ends", still, extra={"job_id": claim.id})
            os._exit(HUNG)


def _traced(claim: Claim) -> dict[str, str | int]:
    spec = claim.spec
    return {
        "vdmini.job": claim.id,
        "vdmini.attempt": claim.attempt,
        "vdmini.task": spec.task,
        "vdmini.model": spec.model,
        "vdmini.size": spec.size,
        "vdmini.steps": spec.num_inference_steps,
    }


def _write(clip: Clip, spec: JobSpec, path: Path) -> None:
    from vdmini.plan import PruningPlan  # the API image has no model package
    from vdmini.video import write_mp4

    made_by = clip.model.descriptor
    comment = f"model={made_by.name} plan=sha256:{PruningPlan(made_by.removed_blocks).sha256} seed={spec.seed}"
    write_mp4(clip.generation.frames, path, fps=spec.fps, comment=comment)


def _observations(claim: Claim, clip: Clip, stages: Mapping[str, float], run_seconds: float) -> list[metrics.Increment]:
    """Latency and wait count for the variant that was asked for, stages for the one that took them."""
    spec = claim.spec
    labels = (spec.task, spec.variant)
    size = (*labels, spec.size, str(spec.num_inference_steps))
    increments = metrics.observe(metrics.JOB_LATENCY, size, run_seconds)
    increments += metrics.observe(metrics.QUEUE_WAIT, labels, claim.queued_seconds)
    for stage, seconds in stages.items():
        variant = spec.variant if stage == "discarded" else clip.model.descriptor.variant
        increments += metrics.observe(metrics.STAGE, (stage, spec.task, variant), seconds)
    return increments


def _explain(error: Exception, job_id: str) -> Problem:
    """What a client may know of an unexpected error; the traceback is in the log."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        detail = "The device has too little memory for this job; ask for fewer frames or a smaller size."
        return problem(ProblemKind.OUT_OF_MEMORY, detail, job=job_id)
    if isinstance(error, OSError):
        detail = f"The result could not be stored ({error.strerror or 'input/output error'}); try again later."
        return problem(ProblemKind.STORAGE_FULL, detail, job=job_id)
    detail = f"The worker failed with {type(error).__name__}; its log has the traceback beside this job's id."
    return problem(ProblemKind.INTERNAL_ERROR, detail, job=job_id)
