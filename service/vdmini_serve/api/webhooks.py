"""Telling a client's server that a job has ended: signed, tried again, and off the job's path.

What is due lies in Redis (`contract.outbox`); one task in each API process takes from there and sends.
"""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError
from standardwebhooks import Webhook

from vdmini_serve.api import background
from vdmini_serve.api.guard import OutgoingError
from vdmini_serve.api.outgoing import Outgoing
from vdmini_serve.api.source import url_problem
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract import keys, metrics, outbox
from vdmini_serve.contract.job import decode_job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import GenerationFields
from vdmini_serve.contract.settings import Settings

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
SENT_AT_ONCE = 16
"""Of one API process; a slow receiver holds one of them for at most `webhook_seconds`."""
GONE = 410
"""The status by which a receiver says that it wants no more (Standard Webhooks)."""


async def check_webhook(asked: GenerationFields, settings: Settings, outgoing: Outgoing) -> None:
    """Refuse a webhook that could never be sent. It is judged again whenever it is sent.

    Raises:
        ProblemError: saying why.
    """
    if asked.webhook_url is None:
        return
    if not settings.webhook_secrets:
        detail = "webhook_url is switched off here; ask GET /v1/jobs/{id} instead"
        raise ProblemError(ProblemKind.FEATURE_OFF, detail)
    try:
        await outgoing.check(asked.webhook_url, seconds=settings.webhook_seconds)
    except OutgoingError as error:
        raise url_problem("webhook_url", ProblemKind.URL_REFUSED, error) from None


def signed_headers(content: str, *, message_id: str, at: float, keys: tuple[str, ...]) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature by each key.

    Args:
        content: the body.
        message_id: the same at each attempt.
        at: Unix time of this attempt in seconds.
        keys: `whsec_` and base64.
    """
    moment = datetime.fromtimestamp(int(at), UTC)
    signatures = (Webhook(key).sign(msg_id=message_id, timestamp=moment, data=content) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
    }


def retry_delay(attempt: int, *, first: float, longest: float, draw: float) -> float:
    """Seconds until the next attempt: doubled each time, and between half and all of that.

    Args:
        attempt: the number of the one that failed, from 1.
        first: seconds after the first one.
        longest: seconds at most.
        draw: 0..1, at random, so that what failed together doesn't come back together.
    """
    pause = min(longest, first * 2.0 ** min(attempt - 1, 64))
    return pause * (0.5 + draw / 2)


@dataclass(frozen=True)
class Verdict:
    """What an attempt led to.

    Args:
        status: of the delivery.
        outcome: as it is counted.
        error: what went wrong, or ''.
        delay_seconds: until the next attempt.
    """

    status: outbox.DeliveryStatus
    outcome: str
    error: str = ""
    delay_seconds: float = 0.0


class WebhookSender:
    """Sends the webhooks that are due.

    Args:
        store: the jobs.
        outgoing: calls receivers.
    """

    def __init__(self, store: ApiStore, outgoing: Outgoing) -> None:
        self.store, self.outgoing, self.settings = store, outgoing, store.settings
        self._keys = tuple(secret.get_secret_value() for secret in self.settings.webhook_secrets)
        self._take = store.redis.register_script(outbox.TAKE)
        self._settle = store.redis.register_script(outbox.SETTLE)

    async def run(self) -> None:
        """Send until cancelled; what is cut off then is sent by the next process."""
        sending: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    for job_id, attempt in await self.take(SENT_AT_ONCE - len(sending)):
                        task = asyncio.create_task(self._send_safely(job_id, attempt))
                        sending.add(task)
                        task.add_done_callback(sending.discard)
                except RedisError as error:
                    log.warning("cannot look for webhooks: %s", error)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await background.end(tuple(sending))

    async def take(self, most: int) -> list[tuple[str, int]]:
        """Take what is due, and keep others from it for longer than an attempt can last.

        Returns:
            Job ids, and the number of the attempt that begins.
        """
        hold = 2 * self.settings.webhook_seconds + 5
        arguments = [hold, self.settings.webhook_max_attempts, most, _counted("failed")]
        taken = await self._take([keys.WEBHOOKS, keys.METRICS], arguments)
        return [(job_id, int(attempt)) for job_id, attempt in zip(taken[::2], taken[1::2], strict=True)]

    async def _send_safely(self, job_id: str, attempt: int) -> None:
        try:
            await self.send(job_id, attempt)
        except RedisError as error:
            log.warning("webhook of job %s is sent again later: %s", job_id, error)
        except Exception:  # the edge of the task
            log.exception("webhook of job %s failed", job_id)

    async def send(self, job_id: str, attempt: int) -> None:
        """Make one attempt and note what became of it."""
        fields = await self.store.redis.hgetall(keys.job_key(job_id))
        if "webhook_url" not in fields:  # the job was removed meanwhile
            return
        content = decode_job(fields).model_copy(update={"webhook": None}).model_dump_json()
        headers = signed_headers(content, message_id=job_id, at=time.time(), keys=self._keys)
        if fields.get("traceparent"):
            headers["traceparent"] = fields["traceparent"]
        try:
            status = await self.outgoing.post(
                fields["webhook_url"],
                content=content.encode(),
                headers=headers,
                seconds=self.settings.webhook_seconds,
            )
        except OutgoingError as error:
            verdict = self._failed(attempt, error.detail)
        else:
            verdict = self._answered(attempt, status)
        await self._note(job_id, attempt, verdict)

    def _answered(self, attempt: int, status: int) -> Verdict:
        if 200 <= status < 300:
            return Verdict("delivered", "delivered")
        error = f"the receiver answered with HTTP status {status}"
        return Verdict("failed", "failed", error) if status == GONE else self._failed(attempt, error)

    def _failed(self, attempt: int, error: str) -> Verdict:
        if attempt >= self.settings.webhook_max_attempts:
            return Verdict("failed", "failed", error)
        pause = retry_delay(
            attempt,
            first=self.settings.webhook_first_retry_seconds,
            longest=self.settings.webhook_longest_retry_seconds,
            draw=secrets.SystemRandom().random(),
        )
        return Verdict("pending", "retried", error, pause)

    async def _note(self, job_id: str, attempt: int, verdict: Verdict) -> None:
        names = [keys.job_key(job_id), keys.WEBHOOKS, keys.METRICS]
        arguments = [job_id, attempt, verdict.status, verdict.delay_seconds, verdict.error, _counted(verdict.outcome)]
        if not await self._settle(names, arguments):
            log.warning("attempt %d at the webhook of job %s came too late to be noted", attempt, job_id)
        elif verdict.status == "failed":
            log.warning("the webhook of job %s is given up: %s", job_id, verdict.error)


def _counted(outcome: str) -> str:
    return metrics.cell(metrics.WEBHOOK_DELIVERIES, (outcome,), "value")
