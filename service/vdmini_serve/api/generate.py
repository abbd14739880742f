"""`POST /v1/i2v` and `POST /v1/t2v`: accept a job, and wait for it as long as the client likes."""

import logging
import secrets

from fastapi import APIRouter, Request
from kombu.exceptions import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from vdmini_serve.api import openapi
from vdmini_serve.api.admission import admit, pick_model, validate
from vdmini_serve.api.content import whole
from vdmini_serve.api.intake import read_fields
from vdmini_serve.api.picture import prepare
from vdmini_serve.api.prefer import wait_seconds
from vdmini_serve.api.reaper import publish_job
from vdmini_serve.api.state import Service, ServiceDep
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import ImageToVideoRequest, JobSpec, TextToVideoRequest

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["generate"])


@router.post(
    "/i2v",
    summary="Animate an image",
    responses=openapi.GENERATED,
    openapi_extra=openapi.request_body(ImageToVideoRequest),
)
async def image_to_video(request: Request, service: ServiceDep) -> Response:
    """Send `image` as a file part of a form, or as base64 in JSON."""
    fields = await read_fields(request, service.settings.max_upload_bytes)
    asked = validate(ImageToVideoRequest, fields)
    if len(asked.image) > service.settings.max_upload_bytes:
        detail = f"image has {len(asked.image)} bytes; at most {service.settings.max_upload_bytes} are allowed"
        raise ProblemError(ProblemKind.BODY_TOO_LARGE, detail)
    model = pick_model(await service.store.models(), "i2v", asked.variant)
    spec = admit(asked, model, service.settings.max_prompt_characters)
    image = await run_in_threadpool(
        prepare, asked.image, width=spec.width, height=spec.height, max_pixels=service.settings.max_image_pixels
    )
    return await _serve(request, service, spec, image)


@router.post(
    "/t2v",
    summary="Make a clip from a sentence",
    responses=openapi.GENERATED,
    openapi_extra=openapi.request_body(TextToVideoRequest),
)
async def text_to_video(request: Request, service: ServiceDep) -> Response:
    """Send `prompt` in JSON or in a form."""
    fields = await read_fields(request, 0)
    asked = validate(TextToVideoRequest, fields)
    model = pick_model(await service.store.models(), "t2v", asked.variant)
    spec = admit(asked, model, service.settings.max_prompt_characters)
    return await _serve(request, service, spec, None)


async def _serve(request: Request, service: Service, spec: JobSpec, image: bytes | None) -> Response:
    settings, job_id = service.settings, secrets.token_hex(16)
    seconds, applied = wait_seconds(
        request.headers.get("prefer"), default=settings.default_wait_seconds, most=settings.max_wait_seconds
    )
    await service.store.create(job_id, spec, image)
    try:
        await publish_job(service.store, service.celery, job_id, spec.task)
    except OperationalError as error:
        log.warning("job %s is published later: %s", job_id, error)
    answer = await _answer(await service.finished.wait(job_id, seconds), service)
    if applied:
        answer.headers["Preference-Applied"] = applied
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
