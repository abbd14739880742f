"""Who asks: the API key of a request. How often it may ask is counted by `api.rates`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from vdmini_serve.api.state import ServiceDep
from vdmini_serve.contract.access import AccessKey, digest_of
from vdmini_serve.contract.job import owner_of
from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.ticket import ANYBODY

CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Args:
        key: its API key; None where none is asked for.
    """

    key: AccessKey | None

    @property
    def owner(self) -> str:
        """What its jobs remember."""
        return self.key.id if self.key else ANYBODY

    def may_see(self, fields: dict[str, str]) -> bool:
        """Whether a job's Redis hash is of a job of its own; without keys all are everybody's."""
        return self.key is None or owner_of(fields) == self.key.id

    def check_priority(self, lane: Lane) -> None:
        """Raise `ProblemError` when it may not ask for a priority."""
        if self.key is not None and not self.key.allows(lane):
            detail = f"priority is {lane!r}; this API key may ask for {self.key.priority!r} at most"
            raise ProblemError(ProblemKind.PRIORITY_NOT_ALLOWED, detail)


async def _caller(request: Request, service: ServiceDep) -> Caller:
    if not service.settings.require_api_key:
        return Caller(None)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        detail = "an API key is needed: send the header `Authorization: Bearer KEY`; `vdmini-serve keys add` makes keys"
        raise ProblemError(ProblemKind.KEY_MISSING, detail, headers=CHALLENGE)
    key = await service.store.access_key(digest_of(text.strip()))
    if key is None:
        detail = "this API key is not known here; it may have been removed"
        raise ProblemError(ProblemKind.KEY_UNKNOWN, detail, headers=CHALLENGE)
    return Caller(key)


async def _submitter(service: ServiceDep, caller: "CallerDep") -> Caller:
    rate = caller.key.rate if caller.key else service.settings.requests_without_key
    if rate is not None:
        await service.rates.spend(rate, caller.owner)
    return caller


CallerDep = Annotated[Caller, Depends(_caller)]
"""The caller of a request; without an API key it is refused where one is asked for."""
SubmitterDep = Annotated[Caller, Depends(_submitter)]
"""The same for a request that makes a job: it counts against the caller's rate."""
