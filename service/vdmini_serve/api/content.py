"""Handing out MP4s: ETag, Range, HEAD. Only files of succeeded jobs get here, and those are whole."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.settings import Settings

CHUNK_BYTES = 256 * 1024
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


def path_of(job: Job, settings: Settings) -> Path:
    """The MP4 of a succeeded job.

    Raises:
        ProblemError: when the job has none.
    """
    if job.status != "succeeded":
        detail = f"the job is {job.status} and has no clip; GET /v1/jobs/{job.id} tells more"
        raise ProblemError(ProblemKind.JOB_NOT_SUCCEEDED, detail, job=job.id)
    path = settings.result_path(job.id, job.attempts)
    if not path.is_file():
        raise ProblemError(ProblemKind.CONTENT_GONE, "the clip was removed; send the request again", job=job.id)
    return path


def respond(request: Request, job: Job, settings: Settings) -> Response:
    """Answer GET and HEAD of a clip, or of a part of it."""
    path = path_of(job, settings)
    headers, size = _headers(job), path.stat().st_size
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    span = _span(request, headers["ETag"], size)
    if span is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[1]}/{size}"
    first, last = span or (0, size - 1)
    headers["Content-Length"] = str(last - first + 1)
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="video/mp4")
    return StreamingResponse(_read(path, first, last), status_code=status, headers=headers, media_type="video/mp4")


def whole(job: Job, settings: Settings) -> Response:
    """The clip as the answer of the request that made it; a Range makes no sense there."""
    path = path_of(job, settings)
    headers = {
        **_headers(job),
        "Content-Length": str(path.stat().st_size),
        "Content-Location": f"/v1/jobs/{job.id}/content",
    }
    return StreamingResponse(_read(path, 0, path.stat().st_size - 1), headers=headers, media_type="video/mp4")


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


async def _read(path: Path, first: int, last: int) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := await file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
