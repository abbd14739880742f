"""Which replica does a piece of housekeeping: one at a time, or its price in Redis would grow with the replicas.

It is no lock: where a pass lasts longer than the turn, two replicas do it, so what is done must bear that.
"""

import secrets
from typing import Any

from redis.asyncio import Redis

TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class Turn:
    """A replica's claim to a piece of work, renewed by asking.

    Args:
        redis: shared by the replicas.
        key: in Redis, of this kind of work.
        seconds: for which it is this replica's after asking; another one takes over when it asks no more.
    """

    def __init__(self, redis: Redis, key: str, *, seconds: float) -> None:
        self.key, self.milliseconds = key, max(1, int(seconds * 1000))
        self._token = secrets.token_hex(8)
        self._take: Any = redis.register_script(TAKE)

    async def mine(self) -> bool:
        """Whether this replica shall do it now; asking takes or keeps the turn."""
        return bool(await self._take([self.key], [self._token, self.milliseconds]))
