"""Handing out the still of a clip, as `api.content` hands out the clip."""

from starlette.requests import Request
from starlette.responses import Response

from vdmini_serve.api.content import name_of
from vdmini_serve.api.state import Service
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.results.names import still_name

MEDIA_TYPE = "image/webp"


async def respond(request: Request, job: Job, service: Service) -> Response:
    """Answer GET and HEAD of a succeeded job's still.

    Raises:
        ProblemError: when the job has no clip, or the clip has no still.
    """
    name_of(job)
    headers = {
        "ETag": f'"{job.sha256}.webp"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": f'inline; filename="{job.id}.webp"',
        "X-VDMini-Job": job.id,
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    name = still_name(job.id, job.attempts)
    try:
        size = await service.results.size(name)
        content = b"".join([piece async for piece in service.results.read(name, 0, size - 1)])
    except ProblemError as error:
        if error.problem.kind != ProblemKind.CONTENT_GONE:
            raise
        detail = "the clip has no thumbnail any more; its video may still be there"
        raise ProblemError(ProblemKind.CONTENT_GONE, detail, job=job.id) from None
    return Response(content, headers=headers, media_type=MEDIA_TYPE)
