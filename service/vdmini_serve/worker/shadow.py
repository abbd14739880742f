"""Re-runs of finished jobs on the teacher while there is nothing to do: they keep the baseline and the drift alive.

A thread of the child does it, beside the one that waits for jobs; a lock lets only one of them use the models. Real
work comes first: a re-run looks before each denoising step and decode chunk whether a job has come, and stops.

What a re-run needs (prompt, image, frames) stays in this process's memory, a few clips for a few minutes: it is sent
nowhere, and a crash loses nothing but samples.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vdmini_serve.contract import metrics
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.samples import engine_seconds, sample_key
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.baseline import BaselineStore
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.teacher import teacher_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vdmini.engine import Generation

log = logging.getLogger(__name__)

KEPT_CLIPS = 4
"""Clips that wait for their re-run; 14 frames of 1024x576 are 25 MB."""

KEPT_SECONDS = 600.0
"""How long a clip waits at most before it is forgotten, with its prompt and image."""


@dataclass(frozen=True)
class Served:
    """A clip that was served.

    Args:
        job_id: whose hash chooses it.
        model: that made it.
        spec: what was asked for.
        image: the PNG that it began with, for image-to-video.
        frames: uint8 RGB [F, H, W, 3].
        engine_seconds: what it took.
        at: `time.monotonic()` when it was served.
    """

    job_id: str
    model: LoadedModel
    spec: JobSpec
    image: bytes | None = field(repr=False)
    frames: "NDArray[np.uint8]" = field(repr=False)
    engine_seconds: float
    at: float = field(default_factory=time.monotonic)


def chosen(job_id: str, share: float) -> bool:
    """Whether a job is one of the share; always the same answer for the same job."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") < share * 2**64


class Shadow:
    """Holds what was served lately and re-runs it when there is nothing else to do.

    Args:
        settings: the share, and what counts as idle.
        store: counts.
        models: that are loaded.
    """

    def __init__(self, settings: Settings, store: WorkerStore, models: Mapping[str, LoadedModel]) -> None:
        self.settings, self.store, self.models = settings, store, models
        self.baselines = BaselineStore(store.redis)
        self._waiting: deque[Served] = deque(maxlen=KEPT_CLIPS)
        self._changed = threading.Condition()
        self._models_in_use = threading.Lock()
        self._work_came = threading.Event()
        self._idle_since = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._re_run_all, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to re-run."""
        self._thread.start()

    def offer(self, served: Served) -> None:
        """Keep a clip for a re-run if it is one of the share and its teacher is loaded."""
        if not chosen(served.job_id, self.settings.shadow_share):
            return
        if teacher_of(served.model, self.models, served.spec, opened=True) is not None:
            self._keep(served)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While real work is done; a re-run that is under way stops at its next step, and is waited for."""
        self._work_came.set()
        with self._models_in_use:
            try:
                yield
            finally:
                with self._changed:
                    self._work_came.clear()
                    self._idle_since = time.monotonic()
                    self._changed.notify()

    def close(self) -> None:
        """Stop at the next step, forget everything, and end the thread."""
        self._work_came.set()
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def re_run(self, served: Served) -> bool:
        """Re-run a clip now and count what came out; False when it has to wait for real work."""
        teacher = teacher_of(served.model, self.models, served.spec, opened=True)
        if teacher is None:
            return True  # it is loaded no more
        if not self._models_in_use.acquire(blocking=False):
            return False
        try:
            generation = self._generate(teacher, served)
        finally:
            self._models_in_use.release()
        if generation is None:
            self.store.count(metrics.increment(metrics.SHADOW_RUNS, (*_labels(served), "preempted")))
            return False
        self._record(teacher, served, generation)
        return True

    def _generate(self, teacher: LoadedModel, served: Served) -> "Generation | None":
        from vdmini.engine import VideoInterrupted  # imports torch

        try:
            self._stop_for_work()
            return teacher.run(served.spec, served.image, _one_step_ahead(teacher, self._stop_for_work))
        except VideoInterrupted:
            return None

    def _stop_for_work(self) -> None:
        from vdmini.engine import VideoInterrupted  # imports torch

        if self._work_came.is_set():
            raise VideoInterrupted("real work came")

    def _record(self, teacher: LoadedModel, served: Served, generation: "Generation") -> None:
        from vdmini_serve.worker.drift import drift  # imports numpy

        seconds = engine_seconds(generation.seconds)
        self.baselines.add(sample_key(teacher.descriptor, served.spec, teacher.device), seconds)
        observed = metrics.increment(metrics.SHADOW_RUNS, (*_labels(served), "compared"))
        observed += metrics.observe(metrics.SHADOW_SPEEDUP, _labels(served), seconds / served.engine_seconds)
        for metric, value in drift(served.frames, generation.frames).items():
            observed += metrics.observe(metrics.SHADOW_DRIFT, (*_labels(served), metric), value)
        self.store.count(observed)

    def _re_run_all(self) -> None:
        while (served := self._next()) is not None:
            try:
                if not self.re_run(served):
                    self._keep(served)
            except Exception:  # the edge of the thread
                log.exception("the re-run of job %s failed; real jobs are not touched by it", served.job_id)

    def _keep(self, served: Served) -> None:
        with self._changed:
            if not self._closing:
                self._waiting.append(served)
                self._changed.notify()

    def _next(self) -> Served | None:
        """Wait until a clip can be re-run, the newest first; None at the end. What grew too old is forgotten."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                kept = [served for served in self._waiting if now - served.at < KEPT_SECONDS]
                self._waiting = deque(kept, maxlen=KEPT_CLIPS)
                idle_in = self._idle_since + self.settings.shadow_idle_seconds - now
                if kept and idle_in <= 0 and not self._work_came.is_set():
                    return self._waiting.pop()
                self._changed.wait(self._until_something_happens(now, idle_in))
            return None

    def _until_something_happens(self, now: float, idle_in: float) -> float | None:
        if not self._waiting:
            return None
        oldest = min(served.at for served in self._waiting) + KEPT_SECONDS - now
        return oldest if self._work_came.is_set() else min(oldest, idle_in)


def _labels(served: Served) -> tuple[str, str]:
    return served.spec.task, served.model.descriptor.name


def _one_step_ahead(model: LoadedModel, check: Callable[[], None]) -> Callable[[float], None]:
    """A progress callback that checks at each step, and keeps what a GPU was given to do within two of them.

    A GPU is given work faster than it does it: without a bound, a job would wait for all that a stopped re-run has
    left there. It waits for the step before the last one, so the GPU never runs dry and the timing stays right.
    """
    import torch  # only in the child

    marks: deque[Any] = deque()

    def on_progress(share: float) -> None:
        if model.engine.torch_device.type == "cuda":
            mark = torch.cuda.Event()
            mark.record(torch.cuda.current_stream(model.engine.torch_device))
            marks.append(mark)
            if len(marks) > 1:
                marks.popleft().synchronize()
        if share < 1:  # else the clip is made, and nothing would be won
            check()

    return on_progress
