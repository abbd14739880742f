"""`/v1/videos`: the same jobs in the shape that other self-hosted video servers use."""

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from vdmini_serve.api import content, examples, openapi, thumbnail
from vdmini_serve.api.access import CallerDep, SubmitterDep
from vdmini_serve.api.admission import pick_model
from vdmini_serve.api.state import ServiceDep
from vdmini_serve.api.submission import submit
from vdmini_serve.api.video import DeletedVideo, Video, VideoPage, page_of, poll_headers, video_of
from vdmini_serve.api.video_request import VideoRequest, read_video_request, translate

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/videos", tags=["videos"])

After = Annotated[
    str | None, Query(max_length=64, description="`last_id` of the page before", examples=[examples.JOB_ID])
]
Limit = Annotated[int, Query(ge=1, le=100, description="videos on a page", examples=[20])]
Order = Annotated[
    Literal["asc", "desc"], Query(description="by creation: desc has the newest first", examples=["desc"])
]
Variant = Annotated[
    Literal["video", "thumbnail"], Query(description="the MP4, or a WebP of its first frame", examples=["video"])
]


@router.post(
    "", summary="Create a video", responses=openapi.VIDEO_MADE, openapi_extra=openapi.request_body(VideoRequest)
)
async def create_video(request: Request, response: Response, service: ServiceDep, caller: SubmitterDep) -> Video:
    """Send `prompt`, or `input_reference` to animate an image; answered at once. Poll, or follow the job's events."""
    asked = await read_video_request(request, service.settings.max_upload_bytes)
    model = pick_model(await service.store.models(), asked.task, asked.model, field="model")
    accepted = await submit(request, service, caller, asked.task, translate(asked, model))
    job = await service.queue.placed(await service.store.get(accepted.job_id))
    response.headers.update({"Location": f"/v1/videos/{job.id}", "X-VDMini-Job": job.id, **poll_headers(job)})
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if asked.task == "i2v" and asked.prompt is not None:
        response.headers["X-VDMini-Ignored"] = "prompt"
    return video_of(job)


@router.get("", summary="List videos", responses=openapi.VIDEO_PAGE)
async def list_videos(
    service: ServiceDep, caller: CallerDep, after: After = None, limit: Limit = 20, order: Order = "desc"
) -> VideoPage:
    """All jobs, those of the other routes included. Prompts and images are not shown."""
    return page_of(await service.store.page(after=after, limit=limit, owner=caller.owner, oldest_first=order == "asc"))


@router.get("/{video_id}", summary="Status of a video", responses=openapi.VIDEO_STATUS)
async def get_video(video_id: openapi.VideoId, response: Response, service: ServiceDep, caller: CallerDep) -> Video:
    """While it is not finished, `openai-poll-after-ms` says when to ask again."""
    job = await service.queue.placed(await service.store.get(video_id, caller.may_see))
    response.headers.update(poll_headers(job))
    return video_of(job)


@router.api_route(
    "/{video_id}/content",
    methods=["GET"],
    summary="The MP4 of a video, or a still",
    responses=openapi.VIDEO_CONTENT,
    response_class=Response,
)
@router.api_route("/{video_id}/content", methods=["HEAD"], include_in_schema=False, response_class=Response)
async def get_video_content(
    video_id: openapi.VideoId, request: Request, service: ServiceDep, caller: CallerDep, variant: Variant = "video"
) -> Response:
    """The MP4 supports `Range`, `If-Range`, `If-None-Match` and `HEAD`; the still `If-None-Match` and `HEAD`."""
    job = await service.store.get(video_id, caller.may_see)
    if variant == "thumbnail":
        return await thumbnail.respond(request, job, service)
    return await content.respond(request, job, service)


@router.delete("/{video_id}", summary="Delete a video", responses=openapi.VIDEO_DELETED)
async def delete_video(video_id: openapi.VideoId, service: ServiceDep, caller: CallerDep) -> DeletedVideo:
    """A queued one is never made, a running one stops within a denoising step; then it is unknown, with its files."""
    await service.store.get(video_id, caller.may_see)
    await service.expiry.delete(video_id)
    return DeletedVideo(id=video_id)
