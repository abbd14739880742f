"""`POST /v1/i2v` and `POST /v1/t2v`: accept a job, and wait for it as long as the client likes."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from vdmini_serve.api import openapi
from vdmini_serve.api.access import SubmitterDep
from vdmini_serve.api.admission import validate
from vdmini_serve.api.content import whole
from vdmini_serve.api.intake import read_fields
from vdmini_serve.api.prefer import wait_seconds
from vdmini_serve.api.state import Service, ServiceDep
from vdmini_serve.api.submission import Accepted, submit
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import ImageToVideoRequest, TextToVideoRequest

router = APIRouter(prefix="/v1", tags=["generate"])


@router.post(
    "/i2v",
    summary="Animate an image",
    responses=openapi.GENERATED,
    response_class=Response,
    openapi_extra=openapi.request_body(ImageToVideoRequest),
)
async def image_to_video(request: Request, service: ServiceDep, caller: SubmitterDep) -> Response:
    """Send `image` as a file part of a form, or as base64 in JSON, or name it by `image_url`."""
    fields = await read_fields(request, service.settings.max_upload_bytes)
    asked = validate(ImageToVideoRequest, fields)
    return await _serve(request, service, await submit(request, service, caller, "i2v", asked))


@router.post(
    "/t2v",
    summary="Make a clip from a sentence",
    responses=openapi.GENERATED,
    response_class=Response,
    openapi_extra=openapi.request_body(TextToVideoRequest),
)
async def text_to_video(request: Request, service: ServiceDep, caller: SubmitterDep) -> Response:
    """Send `prompt` in JSON or in a form."""
    asked = validate(TextToVideoRequest, await read_fields(request, 0))
    return await _serve(request, service, await submit(request, service, caller, "t2v", asked))


async def _serve(request: Request, service: Service, accepted: Accepted) -> Response:
    settings = service.settings
    seconds, applied = wait_seconds(
        request.headers.get("prefer"), default=settings.default_wait_seconds, most=settings.max_wait_seconds
    )
    job = await service.finished.wait(accepted.job_id, seconds)
    answer = await _answer(await service.queue.placed(job), service)
    if applied:
        answer.headers["Preference-Applied"] = applied
    if accepted.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer


async def _answer(job: Job, service: Service) -> Response:
    if job.status == "succeeded":
        return await whole(job, service)
    if job.error is not None:
        raise ProblemError(job.error.kind, job.error.detail, job=job.id)
    if job.status == "cancelled":
        raise ProblemError(ProblemKind.JOB_CANCELLED, "the job was cancelled while this request waited", job=job.id)
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1", "X-VDMini-Job": job.id}
    return Response(job.model_dump_json(), status_code=202, headers=headers, media_type="application/json")
