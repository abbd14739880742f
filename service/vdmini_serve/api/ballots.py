"""Comparisons and ballots in Redis: register, draw, vote. What may be compared is left to `api.pairing`."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from vdmini_serve.api.pairing import Pair
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.comparison import VOTE, Comparison, Side, Vote, counted, mark_of
from vdmini_serve.contract.problem import ProblemError, ProblemKind

BALLOT_SECONDS = 3600
"""How long somebody may look at a ballot before voting."""
LOOKED_AT = 200
"""Comparisons, the newest first, among which the next one is drawn."""


@dataclass(frozen=True)
class Ballot:
    """A comparison as one voter sees it; the order in it is known here only.

    Args:
        id: 32 hexadecimal digits.
        comparison: id of what it shows.
        owner: whose jobs it shows.
        mark: what is kept of the voter.
        left: variant whose clip is on the left.
        jobs: variant -> job id.
        models: variant -> name of the model.
        task: i2v or t2v.
        expires_at: Unix time until which it can be voted on.
    """

    id: str
    comparison: str
    owner: str
    mark: str
    left: str
    jobs: dict[str, str]
    models: dict[str, str]
    task: str
    expires_at: float

    def variant(self, side: Side) -> str:
        """Whose clip is on a side."""
        other = {"vdmini": "teacher", "teacher": "vdmini"}[self.left]
        return self.left if side == "left" else other


class Ballots:
    """Comparisons and ballots in the jobs' Redis.

    Args:
        redis: a client that decodes to text.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis: Any = redis
        self._vote = redis.register_script(VOTE)

    async def register(self, pair: Pair) -> Comparison:
        """Keep a comparison until the first of its jobs expires; one that is known already stays as it is."""
        made, key = pair.comparison, keys.comparison_key(pair.comparison.id)
        fields = {
            **{name: getattr(made, name) for name in ("task", "model", "teacher")},
            "owner": pair.owner,
            "job_vdmini": pair.student.id,
            "job_teacher": pair.teacher.id,
        }
        pipeline = self.redis.pipeline()
        pipeline.hset(key, mapping=fields)
        pipeline.hsetnx(key, "votes", 0)
        pipeline.expireat(key, int(made.expires_at))
        for index in {keys.COMPARISONS, keys.comparisons_of(pair.owner)}:
            pipeline.zremrangebyscore(index, "-inf", time.time())
            pipeline.zadd(index, {made.id: made.expires_at})
        pipeline.hget(key, "votes")
        return made.model_copy(update={"votes": int((await pipeline.execute())[-1] or 0)})

    async def number(self, owner: str) -> int:
        """How many comparisons there are."""
        return int(await self.redis.zcount(keys.comparisons_of(owner), time.time(), "+inf"))

    async def draw(self, owner: str, voter: str) -> tuple[Ballot | None, int]:
        """A ballot on a comparison that this voter has not voted on, among those with the fewest votes.

        Returns:
            It, or None when there is none; and how many are left to vote on, this one included.
        """
        index = keys.comparisons_of(owner)
        ids = await self.redis.zrevrangebyscore(index, "+inf", time.time(), start=0, num=LOOKED_AT)
        pipeline = self.redis.pipeline(transaction=False)
        for each in ids:
            pipeline.hgetall(keys.comparison_key(each))
            pipeline.sismember(keys.voters_key(each), mark_of(each, voter))
        answers = await pipeline.execute()
        found = {
            each: fields
            for each, fields, voted in zip(ids, answers[::2], answers[1::2], strict=True)
            if fields and not voted
        }
        for each in sorted(found, key=lambda name: (int(found[name]["votes"]), secrets.randbits(32))):
            if await self._jobs_are_there(found[each]):
                return await self._ballot(each, found[each], voter), len(found)
            await self._forget(each, found.pop(each)["owner"])
        return None, 0

    async def _jobs_are_there(self, fields: dict[str, str]) -> bool:
        names = [keys.job_key(fields[f"job_{variant}"]) for variant in ("vdmini", "teacher")]
        return bool(await self.redis.exists(*names) == len(names))

    async def _forget(self, comparison: str, owner: str) -> None:
        pipeline = self.redis.pipeline()
        pipeline.delete(keys.comparison_key(comparison), keys.voters_key(comparison))
        for index in {keys.COMPARISONS, keys.comparisons_of(owner)}:
            pipeline.zrem(index, comparison)
        await pipeline.execute()

    async def _ballot(self, comparison: str, fields: dict[str, str], voter: str) -> Ballot:
        made = secrets.token_hex(16)
        kept = {
            "comparison": comparison,
            "mark": mark_of(comparison, voter),
            "left": secrets.choice(("vdmini", "teacher")),
            "expires_at": repr(time.time() + BALLOT_SECONDS),
            **{name: value for name, value in fields.items() if name != "votes"},
        }
        key = keys.ballot_key(made)
        pipeline = self.redis.pipeline()
        pipeline.hset(key, mapping=kept)
        pipeline.expire(key, BALLOT_SECONDS)
        await pipeline.execute()
        return _decode(made, kept)

    async def get(self, ballot_id: str, may_see: Callable[[dict[str, str]], bool]) -> Ballot:
        """Read a ballot.

        Raises:
            ProblemError: when there is none of this id that one may see.
        """
        fields = await self.redis.hgetall(keys.ballot_key(ballot_id))
        if not fields or not may_see(fields):
            raise _unknown(ballot_id)
        return _decode(ballot_id, fields)

    async def vote(self, ballot: Ballot, vote: Vote) -> None:
        """Count a vote, once.

        Raises:
            ProblemError: when this voter has voted on these clips already, or they are gone.
        """
        names = [keys.ballot_key(ballot.id), keys.comparison_key(ballot.comparison)]
        names += [keys.voters_key(ballot.comparison), keys.METRICS]
        increments = counted(vote, task=ballot.task, model=ballot.models["vdmini"], left=ballot.left)
        numbers = [part for increment in increments for part in increment]
        outcome = await self._vote(names, [ballot.mark, vote.model_dump_json(), *numbers])
        if outcome == "voted":
            detail = "a vote on these two clips was counted already, and stays as it is; draw the next ballot"
            raise ProblemError(ProblemKind.ALREADY_VOTED, detail)
        if outcome == "gone":
            raise _unknown(ballot.id)

    async def votes(self) -> dict[tuple[str, ...], float]:
        """All votes by the labels of `metrics.VOTES`."""
        cells = await self.redis.hgetall(keys.METRICS)
        parsed = ((metrics.parse_cell(field), value) for field, value in cells.items())
        return {labels: float(value) for (name, labels, _), value in parsed if name == metrics.VOTES.name}


def _decode(ballot_id: str, fields: dict[str, str]) -> Ballot:
    return Ballot(
        id=ballot_id,
        comparison=fields["comparison"],
        owner=fields["owner"],
        mark=fields["mark"],
        left=fields["left"],
        jobs={variant: fields[f"job_{variant}"] for variant in ("vdmini", "teacher")},
        models={"vdmini": fields["model"], "teacher": fields["teacher"]},
        task=fields["task"],
        expires_at=float(fields["expires_at"]),
    )


def _unknown(ballot_id: str) -> ProblemError:
    detail = f"there is no ballot {ballot_id[:64]!r}; it may have expired, or its clips: draw another one"
    return ProblemError(ProblemKind.UNKNOWN_BALLOT, detail)
