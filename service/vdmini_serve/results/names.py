"""Names of result files. They are made here alone, never from what a client sent."""

import re

_NAME = re.compile(r"^([0-9a-f]{32})\.([1-9]\d{0,3})\.(?:mp4|webp)$")


def result_name(job_id: str, attempt: int) -> str:
    """The MP4 of one attempt: attempts never share a file, so a stale one cannot overwrite a good one."""
    return f"{job_id}.{attempt}.mp4"


def still_name(job_id: str, attempt: int) -> str:
    """The first frame of the MP4 as a picture."""
    return f"{job_id}.{attempt}.webp"


def names_of(job_id: str, attempt: int) -> tuple[str, ...]:
    """All files of one attempt."""
    return result_name(job_id, attempt), still_name(job_id, attempt)


def parse_name(name: str) -> tuple[str, int] | None:
    """Job id and attempt of a result; None for a file that is no result and none of our business."""
    match = _NAME.match(name)
    return (match[1], int(match[2])) if match else None
