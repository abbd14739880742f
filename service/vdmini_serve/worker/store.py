"""The worker's side of the job store: claim, beat, finish; and the signs of life. The transitions are Lua scripts."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis

from vdmini_serve.contract import keys, metrics, transitions
from vdmini_serve.contract.job import JobResult, JobStatus, decode_spec
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.problem import Problem, attempts_used_up, queued_too_long
from vdmini_serve.contract.receipt import Receipt
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.zeros import zeros

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """One attempt at a job, held by this worker.

    Args:
        id: of the job.
        attempt: its number, from 1; an older one cannot change the job any more.
        spec: what to run.
        image: PNG bytes, for image-to-video.
        queued_seconds: from acceptance to this start.
        created_at: Unix time of the acceptance.
        traceparent: the trace that the job belongs to.
    """

    id: str
    attempt: int
    spec: JobSpec
    image: bytes | None
    queued_seconds: float
    created_at: float
    traceparent: str | None = None


class WorkerStore:
    """The jobs' Redis as the worker uses it.

    Args:
        redis: a client that leaves bytes as they are.
        settings: lease and attempts.
        owner: this worker process, unique for each start.
    """

    def __init__(self, redis: Redis, settings: Settings, owner: str) -> None:
        self.redis: Any = redis
        self.settings = settings
        self.owner = owner
        self._lease_ms = int(settings.lease_seconds * 1000)
        self._claim = redis.register_script(transitions.CLAIM)
        self._beat = redis.register_script(transitions.BEAT)
        self._finish = redis.register_script(transitions.FINISH)

    def claim(self, job_id: str) -> Claim | None:
        """Start an attempt; None when the job is finished, alive elsewhere, cancelled or out of attempts."""
        now = time.time()
        arguments: list[Any] = [job_id, self.owner, now, self._lease_ms, self.settings.max_attempts]
        lost = attempts_used_up(self.settings.max_attempts, job_id).model_dump_json()
        late = queued_too_long(job_id).model_dump_json()
        attempt = int(self._claim([keys.job_key(job_id), keys.lease_key(job_id)], [*arguments, lost, late]))
        if not attempt:
            return None
        fields = {k.decode(): v.decode() for k, v in self.redis.hgetall(keys.job_key(job_id)).items()}
        created = float(fields["created_at"])
        image = cast("bytes | None", self.redis.get(keys.image_key(job_id)))
        waited, trace = max(0.0, now - created), fields.get("traceparent") or None
        claim = Claim(job_id, attempt, decode_spec(fields), image, waited, created, trace)
        _log("running", claim)
        return claim

    def beat(self, claim: Claim, progress: float | None = None) -> str:
        """Renew the lease and note the progress.

        Returns:
            `ok`, `cancel` when the client asked for it, `lost` when the job is no longer this attempt's.
        """
        named = [keys.job_key(claim.id), keys.lease_key(claim.id)]
        share = "" if progress is None else f"{min(max(progress, 0.0), 1.0):.4f}"
        answer: bytes = self._beat(named, [self.owner, claim.attempt, self._lease_ms, share])
        return answer.decode()

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        result: JobResult | None = None,
        error: Problem | None = None,
        increments: Sequence[metrics.Increment] = (),
    ) -> bool:
        """Bring the job to its last state; False when it is no longer this attempt's, and nothing has changed."""
        counted = [part for pair in increments for part in pair]
        documents = [record.model_dump_json() if record else "" for record in (result, error)]
        arguments = [claim.id, claim.attempt, status, time.time(), *documents, *counted]
        finished = bool(self._finish([keys.job_key(claim.id)], arguments))
        _log(status if finished else "lost", claim, seconds=round(time.time() - claim.created_at, 4))
        return finished

    def count(self, increments: Sequence[metrics.Increment]) -> None:
        """Add to metrics that belong to no job's last state."""
        pipeline = self.redis.pipeline()
        for field, amount in increments:
            pipeline.hincrbyfloat(keys.METRICS, field, amount)
        pipeline.execute()

    def publish_models(self, descriptors: Sequence[ModelDescriptor], *, gone: Iterable[str] = ()) -> None:
        """Tell the API what is loaded; counters of its jobs start at 0, so that rates see the first one.

        Args:
            descriptors: of the models that there are.
            gone: names of models that this worker had; another one that still has them says so with its next beat.
        """
        pipeline = self.redis.pipeline()
        for name in gone:
            pipeline.zrem(keys.MODELS_SEEN, name)
        for each in descriptors:
            pipeline.hset(keys.MODELS, each.name, each.model_dump_json())
            for field in zeros(each):
                pipeline.hincrbyfloat(keys.METRICS, field, 0)
        pipeline.execute()

    def publish_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Tell the API how models were made."""
        if receipts:
            self.redis.hset(keys.RECEIPTS, mapping={each.name: each.model_dump_json() for each in receipts})

    def publish_beat(self, beat: WorkerBeat) -> None:
        """Give a sign of life."""
        pipeline = self.redis.pipeline()
        pipeline.hset(keys.WORKERS, beat.id, json.dumps(beat.model_dump(mode="json")))
        if beat.ready and beat.models:
            pipeline.zadd(keys.MODELS_SEEN, dict.fromkeys(beat.models, beat.at))
        pipeline.execute()

    def retire(self) -> None:
        """Take this worker off the list."""
        self.redis.hdel(keys.WORKERS, self.owner)


def _log(status: str, claim: Claim, **fields: float) -> None:
    named = {"job_id": claim.id, "attempt": claim.attempt, "model": claim.spec.model, "status": status}
    log.info("job", extra={**named, **fields})
