"""What can go wrong, as exceptions with one base; `error_of` says which answer becomes which. Others raise them."""

import json
from collections.abc import Mapping

import httpx

from vdmini_client.answers import FieldProblem, Job, Problem


class VDMiniError(Exception):
    """Base of all errors of this package; the message says what happened and what to do."""


class UnreachableError(VDMiniError):
    """No service answers there, or the connection broke and stayed broken."""


class DamagedClipError(VDMiniError):
    """A clip arrived that is not the one that was made; nothing was kept of it."""


class WaitTimeoutError(VDMiniError):
    """The job wasn't finished in the time that the caller gave; it goes on.

    Args:
        message: says so.
        job: its last known state; hand it to `wait` to go on waiting, or to `cancel`.
    """

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class JobFailedError(VDMiniError):
    """The job ended without a clip.

    Args:
        message: says why.
        job: its last state; `job.error` has the service's reason.
    """

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job


class JobCancelledError(JobFailedError):
    """The job was cancelled before it was finished."""


class ServiceError(VDMiniError):
    """The service refused; subclasses tell the kinds apart.

    Args:
        problem: what it said.
        retry_after_seconds: when trying again makes sense, where the service knows.
        request_id: names the request in the service's log.
    """

    def __init__(
        self, problem: Problem, *, retry_after_seconds: float | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(": ".join(filter(None, (problem.title, problem.detail))) or f"HTTP {problem.status}")
        self.problem, self.retry_after_seconds, self.request_id = problem, retry_after_seconds, request_id

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.problem.status

    @property
    def kind(self) -> str:
        """Stable name of the problem, such as `outside-limits`."""
        return self.problem.kind


class InvalidRequestError(ServiceError):
    """Something in the request is wrong; sending it again doesn't help."""

    @property
    def fields(self) -> tuple[FieldProblem, ...]:
        """The wrong fields, as far as the service names them."""
        return self.problem.errors

    @property
    def field(self) -> str | None:
        """The first wrong field."""
        return self.fields[0].field if self.fields else None


class UnauthorisedError(ServiceError):
    """The API key is missing or unknown, or may not ask for this."""


class NotFoundError(ServiceError):
    """There is no such job or model, or it has expired."""


class BusyError(ServiceError):
    """The service takes no more at the moment; `retry_after_seconds` says when to come back."""


class RateLimitedError(BusyError):
    """More requests, or more jobs at once, than this API key may have."""


class QueueFullError(BusyError):
    """The queue is full, or too slow for the request's `max_queue_seconds`."""


class UnavailableError(ServiceError):
    """The service cannot serve now, or failed."""


_BY_STATUS: Mapping[int, type[ServiceError]] = {
    401: UnauthorisedError,
    403: UnauthorisedError,
    404: NotFoundError,
    410: NotFoundError,
    429: BusyError,
}
_BY_KIND: Mapping[str, type[ServiceError]] = {
    "too-many-requests": RateLimitedError,
    "too-many-of-yours": RateLimitedError,
    "queue-full": QueueFullError,
    "queue-too-slow": QueueFullError,
    "feature-off": InvalidRequestError,
}


def error_of(response: httpx.Response) -> ServiceError:
    """The exception for an answer that was read and is an error."""
    problem = problem_of(response)
    usual = InvalidRequestError if response.status_code < 500 else UnavailableError
    chosen = _BY_KIND.get(problem.kind) or _BY_STATUS.get(response.status_code, usual)
    headers = response.headers
    return chosen(problem, retry_after_seconds=retry_after(headers), request_id=headers.get("x-request-id"))


def problem_of(response: httpx.Response) -> Problem:
    """What an answer says of itself, also when something between here and the service wrote it."""
    status = response.status_code
    try:
        said = json.loads(response.content)
    except ValueError:
        said = None
    if isinstance(said, dict):
        return Problem.model_validate({**said, "status": status})
    detail = f"{response.url} answered {status}, and no JSON; is the URL that of a VDMini service?"
    return Problem(status=status, title=response.reason_phrase, detail=detail)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`; None without it, or where it is a date."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
