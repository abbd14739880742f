"""The measured baseline in Redis. What is comparable is in `contract.samples`, what is run in `worker.warmup`."""

import time
from typing import Any

from vdmini_serve.contract.keys import SAMPLES
from vdmini_serve.contract.samples import KEPT_SAMPLES, SampleKey, Timing, encode_sample, timing


class BaselineStore:
    """Rolling engine timings.

    Args:
        redis: the jobs' database.
    """

    def __init__(self, redis: Any) -> None:
        self.redis = redis

    def add(self, key: SampleKey, seconds: float) -> None:
        """Note one run."""
        name = key.encode()
        pipeline = self.redis.pipeline()
        pipeline.sadd(SAMPLES, name)
        pipeline.lpush(name, encode_sample(seconds, time.time()))
        pipeline.ltrim(name, 0, KEPT_SAMPLES - 1)
        pipeline.execute()

    def timing(self, key: SampleKey) -> Timing | None:
        """What such work takes; None when it was never measured."""
        return timing([entry.decode() for entry in self.redis.lrange(key.encode(), 0, -1)])
