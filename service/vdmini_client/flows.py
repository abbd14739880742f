"""What a client does, step by step, for the sync and the async one alike.

A flow is a generator: it yields a step and is sent what came of it, or has the transport's exception thrown in. Clients
carry the steps out; nothing here sends, sleeps, or knows the time except by the clock that it is given.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from vdmini_client import calls
from vdmini_client.answers import Answer, Job, Problem
from vdmini_client.calls import Call
from vdmini_client.errors import (
    DamagedClipError,
    JobCancelledError,
    JobFailedError,
    ServiceError,
    UnavailableError,
    UnreachableError,
    VDMiniError,
    WaitTimeoutError,
    error_of,
    problem_of,
)
from vdmini_client.events import EventReader
from vdmini_client.pauses import Retries, poll_pause
from vdmini_client.receiving import Receiver

STREAM_SILENCE_SECONDS = 40.0
"""A stream without a sign of life for this long is broken: the service sends a comment every 15 s."""
FIRST_EVENT_SECONDS = 5.0
"""The first event comes at once, or something on the way collects them."""
RETRIED = frozenset({429, 502, 503, 504})

T = TypeVar("T")
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Send:
    """Send a request and read the whole answer; comes to an `httpx.Response`."""

    call: Call


@dataclass(frozen=True)
class Pull:
    """Send a request; an error is read, anything else handed to a receiver. Comes to an `httpx.Response`."""

    call: Call
    receiver: Receiver


@dataclass(frozen=True)
class Follow:
    """Open an event stream, feed its lines, tell of every job, until a finished one, the end or `deadline`."""

    call: Call
    reader: EventReader
    deadline: float | None


@dataclass(frozen=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Tell the caller's `progress` of a job."""

    job: Job


Step = Send | Pull | Follow | Sleep | Tell
Flow = Generator[Step, Any, T]


def ask(call: Call, retries: Retries, *, receiver: Receiver | None = None) -> Flow[httpx.Response]:
    """Send a request, again where that is safe and makes sense.

    Raises:
        vdmini_client.errors.VDMiniError: when it cannot be served.
    """
    tried, spent = 0, 0.0
    while True:
        failure: VDMiniError
        try:
            answer: httpx.Response = yield Send(call) if receiver is None else Pull(call, receiver)
        except httpx.HTTPError as error:
            failure, again = unreachable(error), True
            failure.__cause__ = error
        else:
            if answer.is_success:
                return answer
            failure, again = error_of(answer), answer.status_code in RETRIED
        tried += 1
        pause = retries.pause(tried, spent, hint_of(failure)) if again and receiver is None else None
        if pause is None:
            raise failure
        spent += pause
        yield Sleep(pause)


def hint_of(error: VDMiniError) -> float | None:
    """Seconds after which the service said to try again."""
    return error.retry_after_seconds if isinstance(error, ServiceError) else None


def unreachable(error: httpx.HTTPError) -> UnreachableError:
    """What a transport's error means for the caller."""
    try:
        url = error.request.url
        where = f"{url.scheme}://{url.netloc.decode()}"
    except RuntimeError:
        where = "the service"
    if isinstance(error, httpx.ConnectError):
        return UnreachableError(f"no service answers at {where}")
    if isinstance(error, httpx.TimeoutException):
        return UnreachableError(f"{where} did not answer in time ({type(error).__name__})")
    return UnreachableError(f"the connection to {where} broke off ({type(error).__name__}: {error})")


def get_job(job_id: str, retries: Retries) -> Flow[Job]:
    """A job as it is now."""
    return parsed(Job, (yield from ask(calls.job(job_id), retries)))


def get(kind: type[A], call: Call, retries: Retries) -> Flow[A]:
    """Any JSON answer."""
    return parsed(kind, (yield from ask(call, retries)))


def submit(call: Call, retries: Retries) -> Flow[Job]:
    """Have a job accepted, once however often it is sent.

    A repeated request may find its job finished already: then the answer is the clip, or the reason why there is none.
    """
    try:
        answer = yield from ask(call, retries)
    except UnavailableError as error:
        if error.problem.job is None:
            raise
        return (yield from get_job(error.problem.job, retries))
    made = answer.headers.get("x-vdmini-job")
    if answer.headers.get("content-type", "").startswith("video/") and made:
        return (yield from get_job(made, retries))
    return parsed(Job, answer)


def wait(job: Job, retries: Retries, *, timeout_seconds: float | None, events: bool) -> Flow[Job]:
    """Wait for a job's end, by its events or by asking.

    Raises:
        JobFailedError: when there is no clip.
        WaitTimeoutError: when it takes longer than the caller likes.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    yield Tell(job)
    if events and not job.finished:
        job = yield from _followed(job, retries, deadline)
    polls, headers = 0, httpx.Headers()
    while not job.finished:
        _check_time(job, deadline)
        pause = poll_pause(job, headers, polls)
        yield Sleep(pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic())))
        answer = yield from ask(calls.job(job.id), retries)
        job, headers, polls = parsed(Job, answer), answer.headers, polls + 1
        yield Tell(job)
    return _succeeded(job)


def _followed(job: Job, retries: Retries, deadline: float | None) -> Flow[Job]:
    """The newest state that a job's event stream tells; not the last one where the stream doesn't work."""
    reader, broken = EventReader(), 0
    while not job.finished and broken <= retries.most:
        _check_time(job, deadline)
        headers = {"Accept": "text/event-stream"}
        if reader.last_id is not None:
            headers["Last-Event-ID"] = reader.last_id
        call = calls.job(job.id, "/events")
        before = reader.last_id
        try:
            answer: httpx.Response = yield Follow(Call("GET", call.path, headers=headers), reader, deadline)
        except httpx.HTTPError:
            answer = httpx.Response(200)
        job = reader.job or job
        if not answer.is_success or answer.status_code == 204 or reader.job is None:
            break
        broken = 0 if reader.last_id != before else broken + 1
        if not job.finished and broken:
            yield Sleep(0.25 * 2**broken)
    return job


def stream_timeout(usual: httpx.Timeout, step: Follow) -> httpx.Timeout:
    """How long a stream may be silent."""
    silence = FIRST_EVENT_SECONDS if step.reader.job is None else STREAM_SILENCE_SECONDS
    if step.deadline is not None:
        silence = max(0.01, min(silence, step.deadline - time.monotonic()))
    return httpx.Timeout(silence, connect=usual.connect)


def is_over(step: Follow) -> bool:
    """Whether a stream has told what it can, or the caller's time is up."""
    job = step.reader.job
    return (job is not None and job.finished) or (step.deadline is not None and time.monotonic() >= step.deadline)


def _check_time(job: Job, deadline: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise WaitTimeoutError(
            f"job {job.id} is {job.status} and goes on; wait for it again with wait({job.id!r}), or cancel it", job
        )


def _succeeded(job: Job) -> Job:
    if job.status == "succeeded":
        return job
    if job.status == "cancelled":
        raise JobCancelledError(f"job {job.id} was cancelled", job)
    reason = job.error or Problem(detail="the service didn't say why")
    raise JobFailedError(f"job {job.id} failed: {reason.detail}", job)


def download(job: Job, path: Path | None, retries: Retries) -> Flow[bytes]:
    """Fetch a clip into a file, or into memory, and compare its hash.

    Returns:
        The clip when there is no path, else nothing.

    Raises:
        DamagedClipError: when it arrived damaged every time.
        UnreachableError: when the connection broke every time.
    """
    call, tried, spent = calls.job(job.id, "/content"), 0, 0.0
    while True:
        with Receiver(path, job.sha256) as receiver:
            try:
                yield from ask(call, retries, receiver=receiver)
                receiver.finish()
                return receiver.content
            except (DamagedClipError, UnreachableError, UnavailableError) as error:
                tried += 1
                pause = retries.pause(tried, spent, hint_of(error))
                if pause is None:
                    raise
        spent += pause
        yield Sleep(pause)


def parsed(kind: type[A], answer: httpx.Response) -> A:
    """An answer's JSON.

    Raises:
        UnavailableError: when it is something else.
    """
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        problem = problem_of(answer)
        detail = f"{answer.url} did not answer with a {kind.__name__}; is the URL that of a VDMini service?"
        raise UnavailableError(Problem(status=problem.status, title="Strange answer", detail=detail)) from error
