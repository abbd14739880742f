"""Handing out MP4s: ETag, Range, HEAD. Only files of succeeded jobs get here, and those are whole."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vdmini_serve.api.results import damaged
from vdmini_serve.api.state import Service
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.results.names import result_name

log = logging.getLogger(__name__)
_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


def server_timing(job: Job) -> str:
    """The `Server-Timing` header: stages in milliseconds."""
    return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in job.timings.items())


def _headers(job: Job) -> dict[str, str]:
    return {
        "ETag": f'"{job.sha256}"',
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": f'inline; filename="{job.id}.mp4"',
        "Server-Timing": server_timing(job),
        "X-VDMini-Job": job.id,
    }


def name_of(job: Job) -> str:
    """The result file of a succeeded job.

    Raises:
        ProblemError: when the job has none.
    """
    if job.status != "succeeded":
        detail = f"the job is {job.status} and has no clip; GET /v1/jobs/{job.id} tells more"
        raise ProblemError(ProblemKind.JOB_NOT_SUCCEEDED, detail, job=job.id)
    return result_name(job.id, job.attempts)


async def respond(request: Request, job: Job, service: Service, *, redirect: bool = True) -> Response:
    """Answer GET and HEAD of a clip, or of a part of it, or with a link to it where `redirect` allows one."""
    name = name_of(job)
    headers, size = _headers(job), await _whole_size(service, job, name)
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if redirect and request.method == "GET" and (link := await _link(service, name)) is not None:
        return Response(status_code=307, headers={"Location": link, "Cache-Control": "no-store"})
    span = _span(request, headers["ETag"], size)
    if span is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{size}"
    first, last = span or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    body = await _body(service.results.read(name, first, last, sha256=None if span else job.sha256))
    return StreamingResponse(body, status_code=status, headers=headers, media_type="video/mp4")


async def whole(job: Job, service: Service) -> Response:
    """The clip as the answer of the request that made it; a Range makes no sense there."""
    name = name_of(job)
    size = await _whole_size(service, job, name)
    headers = {**_headers(job), "Content-Length": str(size), "Content-Location": f"/v1/jobs/{job.id}/content"}
    body = await _body(service.results.read(name, 0, size - 1, sha256=job.sha256))
    return StreamingResponse(body, headers=headers, media_type="video/mp4")


async def _whole_size(service: Service, job: Job, name: str) -> int:
    size = await service.results.size(name)
    if size != job.size_bytes:
        log.error("%s has %d bytes, %s were stored", name, size, job.size_bytes)
        raise damaged()
    return size


async def _link(service: Service, name: str) -> str | None:
    seconds = service.settings.signed_link_seconds
    return await service.results.link(name, seconds) if seconds else None


def _span(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """First and last byte asked for; None for all of them: ranges that make no sense are ignored (RFC 9110)."""
    match = _RANGE.match(request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", etag) != etag or not any(match.groups()):
        return None
    start, end = match.groups()
    first = int(start) if start else max(0, size - int(end))
    last = min(int(end), size - 1) if start and end else size - 1
    if start and end and int(end) < int(start):
        return None
    if first >= size:
        detail = f"the clip has {size} bytes, {match.string!r} starts behind them"
        raise ProblemError(ProblemKind.RANGE_NOT_SATISFIABLE, detail, headers={"Content-Range": f"bytes */{size}"})
    return first, last


async def _body(pieces: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The pieces, once the first one is there: until then a problem can still be answered."""
    first = await anext(pieces, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return all_of_them()
