"""One replica at a time does the housekeeping, and another one takes over when it is gone; a real Redis."""

import asyncio
import time

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.turn import Turn

KEY = "test:turn"


def test_one_replica_has_the_turn_until_it_asks_no_more(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.delete(KEY)

    async def act() -> None:
        async with AsyncRedis.from_url(redis_url, decode_responses=True) as redis:
            first, second = Turn(redis, KEY, seconds=0.6), Turn(redis, KEY, seconds=0.6)
            assert await first.mine()
            began = time.monotonic()
            for _ in range(4):  # asking renews it
                await asyncio.sleep(0.2)
                assert await first.mine()
                assert not await second.mine()
            assert time.monotonic() - began > 0.6
            await asyncio.sleep(0.8)
            assert await second.mine()
            assert not await first.mine()

    asyncio.run(act())
