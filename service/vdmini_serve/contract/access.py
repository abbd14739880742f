"""API keys: what is kept of one, and how one is made. Only their hashes are stored."""

import hashlib
import secrets
import time

from pydantic import Field

from vdmini_serve.contract.lanes import LANES, Lane
from vdmini_serve.contract.record import Record

PREFIX = "vdm_"
"""Begins every key, so that scanners of repositories can find one that was committed."""


class AccessKey(Record):
    """What the service knows of an API key."""

    id: str = Field(description="16 hexadecimal digits; jobs remember it as their owner")
    name: str = Field(description="whose it is, in words")
    created_at: float = Field(description="Unix time")
    rate: str | None = Field(default=None, description="POSTs, such as 60/minute; no limit when null")
    max_active_jobs: int | None = Field(default=None, ge=1, description="jobs queued and running at once")
    priority: Lane = Field(default="normal", description="the highest priority that it may ask for")

    def allows(self, lane: Lane) -> bool:
        """Whether it may ask for a priority."""
        return LANES.index(lane) >= LANES.index(self.priority)


def digest_of(text: str) -> str:
    """What is stored instead of a key. Keys are random, so a fast hash can't be guessed back."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_key(
    name: str, *, rate: str | None = None, max_active_jobs: int | None = None, priority: Lane = "normal"
) -> tuple[str, AccessKey]:
    """A new key: its text, which is shown once, and what is kept of it."""
    made = AccessKey(
        id=secrets.token_hex(8),
        name=name,
        created_at=time.time(),
        rate=rate,
        max_active_jobs=max_active_jobs,
        priority=priority,
    )
    return PREFIX + secrets.token_urlsafe(32), made
