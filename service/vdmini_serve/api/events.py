"""`/v1/jobs/{id}/events`: a job's states as server-sent events. What has changed, `api.feeds` finds out."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from vdmini_serve.api import openapi
from vdmini_serve.api.access import CallerDep
from vdmini_serve.api.feeds import JobFeeds
from vdmini_serve.api.state import ServiceDep
from vdmini_serve.contract.job import Job

KEEP_ALIVE_SECONDS = 15
"""Proxies close connections on which nothing comes for a minute or less."""

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/events",
    summary="Changes of a job as they happen",
    responses=openapi.EVENTS,
    response_class=Response,
)
async def get_events(
    job_id: openapi.JobId,
    service: ServiceDep,
    caller: CallerDep,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=64,
            description="`id` of the last event that was seen; sent by browsers",
            examples=["3f1d2c4b5a697887"],
        ),
    ] = None,
) -> Response:
    """Server-sent events, each with the whole job as its data, until the job is finished.

    The first one tells the state now, unless `Last-Event-ID` says that it is known. A comment comes every 15 seconds.
    When the last state is known already the answer is 204, which ends a browser's reconnecting.
    """
    job = await service.queue.placed(await service.store.get(job_id, caller.may_see))
    if job.finished and event_id(job) == last_event_id:
        return Response(status_code=204)
    return EventSourceResponse(
        _events(service.feeds, job, last_event_id),
        ping=KEEP_ALIVE_SECONDS,
        ping_message_factory=lambda: ServerSentEvent(comment="keep-alive"),
    )


async def _events(feeds: JobFeeds, job: Job, last_event_id: str | None) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(feeds.follow(job)) as states:
        async for state in states:
            name = event_id(state)
            if name != last_event_id:
                yield ServerSentEvent(state.model_dump_json(), id=name)
            last_event_id = None


def event_id(job: Job) -> str:
    """A name for this very state: any replica knows it again, and none has to count."""
    return hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:16]
