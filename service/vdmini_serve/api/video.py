"""A job in the shape that other video servers use. Requests of that shape are left to `api.video_request`."""

import time
from typing import Literal

from pydantic import Field

from vdmini_serve.contract.job import Job, JobPage, JobStatus
from vdmini_serve.contract.problem import Problem, ProblemKind, problem
from vdmini_serve.contract.record import Record

VideoStatus = Literal["queued", "in_progress", "completed", "failed"]

STATUS: dict[JobStatus, VideoStatus] = {
    "queued": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
"""The shape knows no cancelled videos; their `error.code` tells them apart."""

POLL_SECONDS = (0.1, 5.0)
"""Shortest and longest time that a client is asked to wait until it polls again."""


class VideoError(Record):
    """Why there is no clip."""

    code: str = Field(
        description="the end of the problem's `type`, such as out-of-memory; job-cancelled after a cancel"
    )
    message: str = Field(description="what happened and what to do")


class Video(Record):
    """A job as a video."""

    id: str = Field(description="the job's id: GET /v1/jobs/{id} knows it, too")
    object: Literal["video"] = Field(default="video", description="always video")
    model: str = Field(description="name of the model")
    status: VideoStatus = Field(description="queued -> in_progress -> completed | failed")
    progress: int = Field(ge=0, le=100, description="per cent of the work that is done")
    created_at: int = Field(description="Unix time in seconds")
    completed_at: int | None = Field(description="Unix time in seconds when it was completed or failed")
    expires_at: int | None = Field(description="Unix time in seconds when the clip is removed, once it is made")
    seconds: str = Field(description="length of the clip, a number of seconds as text")
    size: str = Field(description="width x height in pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    num_inference_steps: int = Field(description="denoising steps")
    guidance_scale: float = Field(description="1 means no guidance")
    seed: int = Field(description="give it again to get the same clip")
    speedup: float | None = Field(description="against the uncompressed model, see the job; null when it is unknown")
    error: VideoError | None = Field(description="why it failed")


class VideoPage(Record):
    """A page of videos."""

    object: Literal["list"] = Field(default="list", description="always list")
    data: tuple[Video, ...] = Field(description="in the order that was asked for")
    first_id: str | None = Field(description="id of the first one")
    last_id: str | None = Field(description="id of the last one: give it as `after` to get the next page")
    has_more: bool = Field(description="whether there is a next page")


class DeletedVideo(Record):
    """What is left of a video that was deleted."""

    id: str = Field(description="of the video")
    object: Literal["video.deleted"] = Field(default="video.deleted", description="always video.deleted")
    deleted: Literal[True] = Field(default=True, description="always true")


def video_of(job: Job) -> Video:
    """A job in the other shape."""
    return Video(
        id=job.id,
        model=job.model,
        status=STATUS[job.status],
        progress=int(job.progress * 100),
        created_at=int(job.created_at),
        completed_at=None if job.finished_at is None else int(job.finished_at),
        expires_at=None if job.expires_at is None else int(job.expires_at),
        seconds=f"{round(job.num_frames / job.fps, 3):g}",
        size=f"{job.width}x{job.height}",
        num_frames=job.num_frames,
        fps=job.fps,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        seed=job.seed,
        speedup=job.speedup,
        error=_error(job),
    )


def _error(job: Job) -> VideoError | None:
    what: Problem | None = job.error
    if job.status == "cancelled":
        what = problem(ProblemKind.JOB_CANCELLED, "the job was cancelled; send the request again to have it made")
    return None if what is None else VideoError(code=what.kind.value, message=what.detail)


def page_of(page: JobPage) -> VideoPage:
    """A page of jobs in the other shape."""
    videos = tuple(map(video_of, page.jobs))
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoPage(data=videos, first_id=first, last_id=last, has_more=page.next is not None)


def poll_headers(job: Job) -> dict[str, str]:
    """The header that says when to ask again: when the job may be done, if that can be told, else in a second."""
    if job.finished:
        return {}
    seconds = 1.0
    if job.eta_seconds is not None:
        seconds = job.eta_seconds
    elif job.started_at is not None and job.progress > 0:
        seconds = (time.time() - job.started_at) * (1 - job.progress) / job.progress
    return {"openai-poll-after-ms": str(round(1000 * min(max(seconds, POLL_SECONDS[0]), POLL_SECONDS[1])))}
