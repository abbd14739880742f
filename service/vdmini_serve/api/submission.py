"""The one way to a new job: checked against its model, stored, handed to the broker. Routes read the bodies."""

import logging
import secrets

from kombu.exceptions import OperationalError
from starlette.concurrency import run_in_threadpool

from vdmini_serve.api.admission import admit
from vdmini_serve.api.picture import prepare
from vdmini_serve.api.reaper import publish_job
from vdmini_serve.api.state import Service
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import ImageToVideoRequest, JobSpec, TextToVideoRequest
from vdmini_serve.contract.settings import Settings

log = logging.getLogger(__name__)


async def submit(service: Service, asked: ImageToVideoRequest | TextToVideoRequest, model: ModelDescriptor) -> str:
    """Accept a job.

    Args:
        service: that takes it.
        asked: what the client wants, its fields checked by themselves.
        model: that runs it.

    Returns:
        The job's id.

    Raises:
        ProblemError: when the model cannot do it, the image is no safe picture, or no more jobs are taken.
    """
    spec = admit(asked, model, service.settings.max_prompt_characters)
    image = await _picture(asked, spec, service.settings)
    job_id = secrets.token_hex(16)
    await service.store.create(job_id, spec, image)
    try:
        await publish_job(service.store, service.celery, job_id, spec.task)
    except OperationalError as error:
        log.warning("job %s is published later: %s", job_id, error)
    return job_id


async def _picture(asked: ImageToVideoRequest | TextToVideoRequest, spec: JobSpec, settings: Settings) -> bytes | None:
    if isinstance(asked, TextToVideoRequest):
        return None
    if len(asked.image) > settings.max_upload_bytes:
        detail = f"image has {len(asked.image)} bytes; at most {settings.max_upload_bytes} are allowed"
        raise ProblemError(ProblemKind.BODY_TOO_LARGE, detail)
    return await run_in_threadpool(
        prepare, asked.image, width=spec.width, height=spec.height, max_pixels=settings.max_image_pixels
    )
