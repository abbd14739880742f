"""Handing out the still of a clip. Which file that is, `contract.thumbnail` says."""

import anyio
from starlette.requests import Request
from starlette.responses import Response

from vdmini_serve.api.content import path_of
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.thumbnail import MEDIA_TYPE, thumbnail_path


async def respond(request: Request, job: Job, settings: Settings) -> Response:
    """Answer GET and HEAD of a succeeded job's still.

    Raises:
        ProblemError: when the job has no clip, or the clip has no still.
    """
    path = anyio.Path(thumbnail_path(path_of(job, settings)))
    headers = {
        "ETag": f'"{job.sha256}.webp"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": f'inline; filename="{job.id}.webp"',
        "X-VDMini-Job": job.id,
    }
    try:
        content = await path.read_bytes()
    except FileNotFoundError:
        detail = "the clip has no thumbnail any more; its video may still be there"
        raise ProblemError(ProblemKind.CONTENT_GONE, detail, job=job.id) from None
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA_TYPE)
