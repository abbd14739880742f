"""From a checked request to an accepted job: which model, how urgent, whether there is room. HTTP is left to routes."""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from kombu.exceptions import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from vdmini_serve.api.access import Caller
from vdmini_serve.api.admission import admit, models_of, pick_model
from vdmini_serve.api.choice import candidates, choose, leaves_the_choice
from vdmini_serve.api.idempotency import body_digest, idempotency_digest
from vdmini_serve.api.picture import prepare
from vdmini_serve.api.reaper import publish_job
from vdmini_serve.api.source import picture_bytes
from vdmini_serve.api.state import Service
from vdmini_serve.api.trace import traceparent_of
from vdmini_serve.api.webhooks import check_webhook
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import ImageToVideoRequest, JobSpec, Task, TextToVideoRequest
from vdmini_serve.contract.ticket import Ticket

log = logging.getLogger(__name__)
Asked = ImageToVideoRequest | TextToVideoRequest


@dataclass(frozen=True)
class Accepted:
    """A job that is in the queue, or was before.

    Args:
        job_id: of the job.
        replayed: whether an earlier request with the same Idempotency-Key made it.
    """

    job_id: str
    replayed: bool


async def submit(request: Request, service: Service, caller: Caller, task: Task, asked: Asked) -> Accepted:
    """Make a job of a request.

    Raises:
        ProblemError: when it cannot be done, there is no room, it would start too late, or its Idempotency-Key stands
            for another request.
    """
    caller.check_priority(asked.priority)
    upload = asked.image if isinstance(asked, ImageToVideoRequest) else None
    idempotency = idempotency_digest(request)
    body = body_digest(task, asked, upload) if idempotency else None
    if idempotency and body and (former := await service.store.former(caller.owner, idempotency, body)):
        return Accepted(former, replayed=True)
    spec, model, choice = await _decide(service, task, asked)
    expected = (await service.expectations.get()).seconds(spec, model)
    ticket = Ticket(
        lane=asked.priority,
        owner=caller.owner,
        max_active_of_owner=caller.key.max_active_jobs if caller.key else None,
        max_queue_seconds=asked.max_queue_seconds or service.settings.max_queue_seconds,
        expected_seconds=expected,
        choice=choice,
        webhook_url=asked.webhook_url,
        traceparent=traceparent_of(request),
        idempotency=idempotency,
        body=body,
    )
    await _refuse_too_late(service, task, asked)
    await check_webhook(asked, service.settings, service.outgoing)
    image = await _picture(asked, spec, service) if isinstance(asked, ImageToVideoRequest) else None
    return await _create(service, spec, image, ticket)


async def _picture(asked: ImageToVideoRequest, spec: JobSpec, service: Service) -> bytes:
    upload = await picture_bytes(asked, service.settings, service.outgoing)
    most = service.settings.max_image_pixels
    return await run_in_threadpool(prepare, upload, width=spec.width, height=spec.height, max_pixels=most)


async def _decide(service: Service, task: Task, asked: Asked) -> tuple[JobSpec, ModelDescriptor, str | None]:
    """The work, the model that does it, and why that one when the request left it to the service."""
    models, most = await service.store.models(), service.settings.max_prompt_characters
    if not leaves_the_choice(asked):
        model = pick_model(models, task, asked.variant)
        return admit(asked, model, most), model, None
    specs = _admitted(models, task, asked, most)
    chosen, why = choose(list(candidates(specs, await service.expectations.get())), asked)
    steps = {"num_inference_steps": chosen.num_inference_steps}
    spec = next(spec for model, spec in specs if model.name == chosen.model.name)
    return spec.model_copy(update=steps), chosen.model, why


def _admitted(
    models: Mapping[str, ModelDescriptor], task: Task, asked: Asked, most: int
) -> list[tuple[ModelDescriptor, JobSpec]]:
    """Every model that can do the job, and the job; raises what the last one said when none can."""
    found: list[tuple[ModelDescriptor, JobSpec]] = []
    refused: ProblemError | None = None
    for model in models_of(models, task):
        try:
            found.append((model, admit(asked, model, most)))
        except ProblemError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


async def _refuse_too_late(service: Service, task: Task, asked: Asked) -> None:
    limit = asked.max_queue_seconds
    if limit is None:
        return
    start = (await service.queue.snapshot()).place(task, asked.priority, time.time()).start_seconds
    if start is not None and start > limit:
        detail = f"the job is expected to start in {start:.1f} s, its max_queue_seconds is {limit:g}; try again later"
        retry = {"Retry-After": str(ceil(start - limit))}
        raise ProblemError(ProblemKind.QUEUE_TOO_SLOW, detail, headers=retry)


async def _create(service: Service, spec: JobSpec, image: bytes | None, ticket: Ticket) -> Accepted:
    new, store = secrets.token_hex(16), service.store
    retry = (await service.queue.snapshot()).retry_seconds()
    job_id = await store.create(new, spec, image, ticket, retry_seconds=retry)
    if job_id != new:
        return Accepted(job_id, replayed=True)
    try:
        await publish_job(store, service.celery, job_id, spec.task, ticket.lane)
    except OperationalError as error:
        log.warning("job %s is published later: %s", job_id, error)
    return Accepted(job_id, replayed=False)
