"""`POST /v1/i2v` and `POST /v1/t2v`: have a job accepted, and wait for it as long as the client likes."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from vdmini_serve.api import openapi
from vdmini_serve.api.admission import pick_model, validate
from vdmini_serve.api.content import whole
from vdmini_serve.api.intake import read_fields
from vdmini_serve.api.prefer import wait_seconds
from vdmini_serve.api.state import Service, ServiceDep
from vdmini_serve.api.submission import submit
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
async def image_to_video(request: Request, service: ServiceDep) -> Response:
    """Send `image` as a file part of a form, or as base64 in JSON."""
    fields = await read_fields(request, service.settings.max_upload_bytes)
    asked = validate(ImageToVideoRequest, fields)
    model = pick_model(await service.store.models(), "i2v", asked.variant)
    return await _await_clip(request, service, await submit(service, asked, model))


@router.post(
    "/t2v",
    summary="Make a clip from a sentence",
    responses=openapi.GENERATED,
    response_class=Response,
    openapi_extra=openapi.request_body(TextToVideoRequest),
)
async def text_to_video(request: Request, service: ServiceDep) -> Response:
    """Send `prompt` in JSON or in a form."""
    fields = await read_fields(request, 0)
    asked = validate(TextToVideoRequest, fields)
    model = pick_model(await service.store.models(), "t2v", asked.variant)
    return await _await_clip(request, service, await submit(service, asked, model))


async def _await_clip(request: Request, service: Service, job_id: str) -> Response:
    settings = service.settings
    seconds, applied = wait_seconds(
        request.headers.get("prefer"), default=settings.default_wait_seconds, most=settings.max_wait_seconds
    )
    answer = _answer(await service.finished.wait(job_id, seconds), service)
    if applied:
        answer.headers["Preference-Applied"] = applied
    return answer


def _answer(job: Job, service: Service) -> Response:
    if job.status == "succeeded":
        return whole(job, service.settings)
    if job.error is not None:
        raise ProblemError(job.error.kind, job.error.detail, job=job.id)
    if job.status == "cancelled":
        raise ProblemError(ProblemKind.JOB_CANCELLED, "the job was cancelled while this request waited", job=job.id)
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": "1", "X-VDMini-Job": job.id}
    return Response(job.model_dump_json(), status_code=202, headers=headers, media_type="application/json")
