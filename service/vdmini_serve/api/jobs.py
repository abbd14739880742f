"""`/v1/jobs`: status, list, cancel, and the clip."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from vdmini_serve.api import examples, openapi
from vdmini_serve.api.access import CallerDep
from vdmini_serve.api.content import respond
from vdmini_serve.api.state import ServiceDep
from vdmini_serve.contract.job import Job, JobPage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

Redirect = Annotated[
    bool, Query(description="whether a link of the store may be answered, where it makes such links", examples=[True])
]


@router.get("", summary="List jobs, newest first", responses=openapi.JOB_PAGE)
async def list_jobs(
    service: ServiceDep,
    caller: CallerDep,
    after: Annotated[
        str | None, Query(max_length=64, description="`next` of the page before", examples=[examples.JOB_ID])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="jobs on a page", examples=[20])] = 20,
) -> JobPage:
    """Prompts and images are not shown."""
    return await service.store.page(after=after, limit=limit, owner=caller.owner)


@router.get("/{job_id}", summary="Status of a job", responses=openapi.JOB)
async def get_job(job_id: openapi.JobId, service: ServiceDep, caller: CallerDep) -> Job:
    """Status, progress, place in the queue, timings, and the measured baseline once it is finished."""
    return await service.queue.placed(await service.store.get(job_id, caller.may_see))


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=openapi.JOB)
async def cancel_job(job_id: openapi.JobId, service: ServiceDep, caller: CallerDep) -> Job:
    """A queued job is cancelled at once, a running one within a denoising step; a finished one stays as it is."""
    await service.store.get(job_id, caller.may_see)
    return await service.store.cancel(job_id)


@router.api_route(
    "/{job_id}/content", methods=["GET"], summary="The MP4 of a job", responses=openapi.CONTENT, response_class=Response
)
@router.api_route("/{job_id}/content", methods=["HEAD"], include_in_schema=False, response_class=Response)
async def get_content(
    job_id: openapi.JobId, request: Request, service: ServiceDep, caller: CallerDep, redirect: Redirect = True
) -> Response:
    """Supports `Range`, `If-Range`, `If-None-Match` and `HEAD`; the ETag is the file's sha256."""
    return await respond(request, await service.store.get(job_id, caller.may_see), service, redirect=redirect)
