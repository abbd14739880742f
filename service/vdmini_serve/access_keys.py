"""`vdmini-serve keys`: make, list and remove API keys in the jobs' Redis."""

import json
import time
from typing import Any

from limits import parse
from redis import Redis

from vdmini_serve.contract import keys
from vdmini_serve.contract.access import AccessKey, digest_of, make_key
from vdmini_serve.contract.lanes import Lane


class KeyCommandError(Exception):
    """What was asked for cannot be done; the message says why."""


class KeyRing:
    """The API keys of a service.

    Args:
        redis: its jobs' database; a client that decodes to text.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis

    def add(self, name: str, *, rate: str | None, max_active_jobs: int | None, priority: Lane) -> str:
        """Make a key.

        Returns:
            Its text, which is stored nowhere.

        Raises:
            KeyCommandError: when the rate is none.
        """
        if rate is not None:
            try:
                parse(rate)
            except ValueError as error:
                raise KeyCommandError(f"--rate {rate!r} is no rate; give one such as 60/minute") from error
        text, made = make_key(name, rate=rate, max_active_jobs=max_active_jobs, priority=priority)
        self.redis.hset(keys.ACCESS_KEYS, digest_of(text), made.model_dump_json())
        return text

    def all(self) -> list[AccessKey]:
        """All keys, the oldest first."""
        found = [AccessKey.model_validate_json(text) for text in self.redis.hvals(keys.ACCESS_KEYS)]
        return sorted(found, key=lambda key: key.created_at)

    def remove(self, key_id: str) -> None:
        """Remove a key; its jobs go on.

        Raises:
            KeyCommandError: when there is none of this id.
        """
        for digest, text in self.redis.hgetall(keys.ACCESS_KEYS).items():
            if AccessKey.model_validate_json(text).id == key_id:
                self.redis.hdel(keys.ACCESS_KEYS, digest)
                return
        raise KeyCommandError(f"there is no key {key_id!r}; `vdmini-serve keys list` tells which there are")


def as_json(found: list[AccessKey]) -> str:
    """Keys for a program; what opens the service isn't among them, since it is stored nowhere."""
    return json.dumps([key.model_dump(mode="json") for key in found], indent=2)


def table(found: list[AccessKey]) -> str:
    """Keys for a person, a line each."""
    rows = [("ID", "MADE", "RATE", "JOBS", "PRIORITY", "NAME")]
    for key in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.created_at))
        rows.append((key.id, made, key.rate or "-", str(key.max_active_jobs or "-"), key.priority, key.name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
