"""Errors as RFC 9457 problem details. How they become HTTP answers is left to `api.errors`."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from vdmini_serve.contract.record import Record

URN_PREFIX = "urn:vdmini:problem:"
MEDIA_TYPE = "application/problem+json"


class ProblemKind(StrEnum):
    """All the problems there are; the value is the stable end of the `type` URI and a metrics label."""

    BROKEN_JSON = "broken-json"
    BROKEN_FORM = "broken-form"
    UNSUPPORTED_CONTENT_TYPE = "unsupported-content-type"
    BODY_TOO_LARGE = "body-too-large"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    INVALID_FIELD = "invalid-field"
    UNSUPPORTED_IMAGE = "unsupported-image"
    IMAGE_TOO_LARGE = "image-too-large"
    IMAGE_UNREACHABLE = "image-unreachable"
    IMAGE_TOO_SLOW = "image-too-slow"
    URL_REFUSED = "url-refused"
    FEATURE_OFF = "feature-off"
    PROMPT_TOO_LONG = "prompt-too-long"
    OUTSIDE_LIMITS = "outside-limits"
    UNKNOWN_VARIANT = "unknown-variant"
    UNKNOWN_MODEL = "unknown-model"
    UNKNOWN_JOB = "unknown-job"
    UNKNOWN_ROUTE = "unknown-route"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable"
    JOB_NOT_SUCCEEDED = "job-not-succeeded"
    JOB_CANCELLED = "job-cancelled"
    CONTENT_GONE = "content-gone"
    QUEUE_FULL = "queue-full"
    QUEUE_TOO_SLOW = "queue-too-slow"
    QUEUED_TOO_LONG = "queued-too-long"
    NO_VARIANT_FAST_ENOUGH = "no-variant-fast-enough"
    TOO_MANY_OF_YOURS = "too-many-of-yours"
    TOO_MANY_REQUESTS = "too-many-requests"
    KEY_MISSING = "key-missing"
    KEY_UNKNOWN = "key-unknown"
    PRIORITY_NOT_ALLOWED = "priority-not-allowed"
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"
    NOT_COMPARABLE = "not-comparable"
    UNKNOWN_BALLOT = "unknown-ballot"
    ALREADY_VOTED = "already-voted"
    NO_MODEL_LOADED = "no-model-loaded"
    STORE_UNAVAILABLE = "store-unavailable"
    WORKER_LOST = "worker-lost"
    OUT_OF_MEMORY = "out-of-memory"
    IMPLAUSIBLE_CLIP = "implausible-clip"
    STORAGE_FULL = "storage-full"
    RESULTS_UNAVAILABLE = "results-unavailable"
    RESULT_DAMAGED = "result-damaged"
    INTERNAL_ERROR = "internal-error"
    BAD_REQUEST = "bad-request"


STATUS: dict[ProblemKind, int] = {
    ProblemKind.BROKEN_JSON: 400,
    ProblemKind.BROKEN_FORM: 400,
    ProblemKind.BAD_REQUEST: 400,
    ProblemKind.KEY_MISSING: 401,
    ProblemKind.KEY_UNKNOWN: 401,
    ProblemKind.PRIORITY_NOT_ALLOWED: 403,
    ProblemKind.FEATURE_OFF: 403,
    ProblemKind.UNKNOWN_MODEL: 404,
    ProblemKind.UNKNOWN_JOB: 404,
    ProblemKind.UNKNOWN_BALLOT: 404,
    ProblemKind.UNKNOWN_ROUTE: 404,
    ProblemKind.METHOD_NOT_ALLOWED: 405,
    ProblemKind.JOB_NOT_SUCCEEDED: 409,
    ProblemKind.JOB_CANCELLED: 409,
    ProblemKind.IDEMPOTENCY_CONFLICT: 409,
    ProblemKind.ALREADY_VOTED: 409,
    ProblemKind.CONTENT_GONE: 410,
    ProblemKind.BODY_TOO_LARGE: 413,
    ProblemKind.UNSUPPORTED_CONTENT_TYPE: 415,
    ProblemKind.RANGE_NOT_SATISFIABLE: 416,
    ProblemKind.QUEUE_FULL: 429,
    ProblemKind.QUEUE_TOO_SLOW: 429,
    ProblemKind.TOO_MANY_OF_YOURS: 429,
    ProblemKind.TOO_MANY_REQUESTS: 429,
    ProblemKind.INTERNAL_ERROR: 500,
    ProblemKind.WORKER_LOST: 500,
    ProblemKind.RESULT_DAMAGED: 500,
    ProblemKind.IMPLAUSIBLE_CLIP: 500,
    ProblemKind.NO_MODEL_LOADED: 503,
    ProblemKind.STORE_UNAVAILABLE: 503,
    ProblemKind.RESULTS_UNAVAILABLE: 503,
    ProblemKind.QUEUED_TOO_LONG: 503,
    ProblemKind.OUT_OF_MEMORY: 507,
    ProblemKind.STORAGE_FULL: 507,
}
"""HTTP status of each kind; what isn't listed is 422."""

SERVICE_FAULTS = tuple(kind for kind, status in STATUS.items() if status >= 500)
"""Kinds that are no fault of the client's: they count against what the service promises."""


class FieldProblem(Record):
    """What is wrong with one field."""

    field: str = Field(description="name of the request's field")
    detail: str = Field(description="what was got and what is allowed")


class Problem(Record):
    """An RFC 9457 problem."""

    type: str = Field(description="stable URI of the kind of problem", examples=["urn:vdmini:problem:unknown-variant"])
    title: str = Field(description="the kind of problem in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what was got, what is allowed and what to do next")
    errors: tuple[FieldProblem, ...] = Field(default=(), description="the fields that are wrong, when fields are")
    job: str | None = Field(default=None, description="the job that the problem belongs to, when there is one")

    @property
    def kind(self) -> ProblemKind:
        """The kind of problem."""
        return ProblemKind(self.type.removeprefix(URN_PREFIX))


def problem(
    kind: ProblemKind, detail: str, *, errors: tuple[FieldProblem, ...] = (), job: str | None = None
) -> Problem:
    """Make a problem of a kind."""
    title = kind.value.replace("-", " ").capitalize()
    return Problem(
        type=URN_PREFIX + kind, title=title, status=STATUS.get(kind, 422), detail=detail, errors=errors, job=job
    )


class ProblemError(Exception):
    """Raise it wherever a request or a job cannot go on; edges turn it into an answer.

    Args:
        kind: of problem.
        detail: what was got, what is allowed and what to do next.
        errors: the fields that are wrong.
        headers: extra HTTP headers of the answer.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        errors: tuple[FieldProblem, ...] = (),
        job: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = problem(kind, detail, errors=errors, job=job)
        self.headers = headers or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problem.kind, self.problem.detail))


def attempts_used_up(attempts: int, job_id: str) -> Problem:
    """Why a job fails whose workers died."""
    detail = (
        f"The worker died during each of the {attempts} attempts at this job; see the worker's log, then try again."
    )
    return problem(ProblemKind.WORKER_LOST, detail, job=job_id)


def queued_too_long(job_id: str) -> Problem:
    """Why a job fails that no worker started in time."""
    detail = "No worker started the job within its max_queue_seconds; try again later, or allow a longer wait."
    return problem(ProblemKind.QUEUED_TOO_LONG, detail, job=job_id)
