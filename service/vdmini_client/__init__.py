"""A Python client for VDMini services, sync and async; it needs httpx and pydantic only."""

from vdmini_client.answers import FieldProblem, Job, JobPage, Limits, Model, Problem
from vdmini_client.async_client import AsyncClient, AsyncClip
from vdmini_client.client import Client, Clip
from vdmini_client.errors import (
    BusyError,
    DamagedClipError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    QueueFullError,
    RateLimitedError,
    ServiceError,
    UnauthorisedError,
    UnavailableError,
    UnreachableError,
    VDMiniError,
    WaitTimeoutError,
)
from vdmini_client.pauses import Retries

__all__ = [
    "AsyncClient",
    "AsyncClip",
    "BusyError",
    "Client",
    "Clip",
    "DamagedClipError",
    "FieldProblem",
    "InvalidRequestError",
    "Job",
    "JobCancelledError",
    "JobFailedError",
    "JobPage",
    "Limits",
    "Model",
    "NotFoundError",
    "Problem",
    "QueueFullError",
    "RateLimitedError",
    "Retries",
    "ServiceError",
    "UnauthorisedError",
    "UnavailableError",
    "UnreachableError",
    "VDMiniError",
    "WaitTimeoutError",
]
