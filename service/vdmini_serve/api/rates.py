"""How often somebody may send requests, counted in Redis for all replicas."""

from math import ceil
from time import time
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from vdmini_serve.contract.problem import ProblemError, ProblemKind


class Rates:
    """Counts requests in Redis, the same for every replica.

    Args:
        redis: the jobs' database.
    """

    def __init__(self, redis: Redis) -> None:
        pool: Any = redis.connection_pool  # the library's annotation knows plain options only
        storage = RedisStorage("async+redis://", implementation="redispy", connection_pool=pool)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def spend(self, rate: str, who: str) -> None:
        """Count one request.

        Raises:
            ProblemError: when `who` has used up what `rate` allows.
        """
        item: RateLimitItem = parse(rate)
        if await self._limiter.hit(item, "vdmini", who):
            return
        until = (await self._limiter.get_window_stats(item, "vdmini", who)).reset_time
        wait = max(1, ceil(until - time()))
        detail = f"{rate} requests are allowed and used up; try again in {wait} s"
        raise ProblemError(ProblemKind.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(wait)})
