"""Clips that people compare without knowing which is which: what is kept, and how a vote is counted, as a Lua script.

A **comparison** is a pair of finished jobs of one input and seed, one of a compressed model, one of its teacher. It
expires with the first of its jobs. A **ballot** shows a comparison once, in an order of its own, to one voter. Who
voted is not kept: of a voter there is a hash, another one for each comparison, so that nobody votes on one twice.
What is counted stays when clips and ballots are gone (`metrics.VOTES`).
"""

from hashlib import sha256
from typing import Literal, get_args

from pydantic import Field

from vdmini_serve.contract import metrics
from vdmini_serve.contract.record import Record

Question = Literal["looks", "moves"]
Side = Literal["left", "right"]
Answer = Literal["left", "right", "same"]
Preferred = Literal["vdmini", "teacher", "same"]

QUESTIONS: tuple[Question, ...] = get_args(Question)
SIDES: tuple[Side, ...] = get_args(Side)
PREFERRED: tuple[Preferred, ...] = get_args(Preferred)


class Comparison(Record):
    """Two clips that can be compared."""

    id: str = Field(description="32 hexadecimal digits; the same two jobs always get the same id")
    task: str = Field(description="i2v or t2v")
    model: str = Field(description="name of the compressed model")
    teacher: str = Field(description="name of the uncompressed one")
    votes: int = Field(description="how many people have voted on it")
    expires_at: float = Field(description="Unix time at which the first of its clips is removed")


class Vote(Record):
    """What somebody thinks of a ballot's clips."""

    looks: Answer = Field(description="which looks better: left, right, or same for no difference")
    moves: Answer = Field(description="which moves more naturally: left, right, or same for no difference")

    def preferred(self, question: Question, left: str) -> Preferred:
        """Whose clip it prefers, when the clip of the variant `left` was on the left."""
        said: Answer = getattr(self, question)
        if said == "same":
            return "same"
        return "vdmini" if (said == "left") == (left == "vdmini") else "teacher"


def comparison_id(one: str, other: str) -> str:
    """The id of a comparison of two jobs, in whatever order."""
    return sha256(":".join(sorted((one, other))).encode()).hexdigest()[:32]


def mark_of(comparison: str, voter: str) -> str:
    """What is kept of a voter beside a comparison; two marks don't tell whether they are of the same one."""
    return sha256(f"{comparison}:{voter}".encode()).hexdigest()


def counted(vote: Vote, *, task: str, model: str, left: str) -> list[metrics.Increment]:
    """What a vote adds to the metrics; the answers that it didn't give get 0, so that all of them are there."""
    return [
        (field, float(preferred == vote.preferred(question, left)))
        for question in QUESTIONS
        for preferred in PREFERRED
        for field, _ in metrics.increment(metrics.VOTES, (task, model, question, preferred))
    ]


# KEYS ballot, comparison, voters, metrics. ARGV mark, the vote, metrics field, amount, ...
# Returns 'counted', 'again' for the same vote on the same ballot (an answer may have been lost), 'voted' when this
# voter has voted otherwise, or 'gone'.
VOTE = """
local ballot = redis.call('HMGET', KEYS[1], 'comparison', 'vote')
if not ballot[1] then return 'gone' end
if ballot[2] then return ballot[2] == ARGV[2] and 'again' or 'voted' end
local left = redis.call('PTTL', KEYS[2])
if left <= 0 then return 'gone' end
if redis.call('SADD', KEYS[3], ARGV[1]) == 0 then return 'voted' end
redis.call('PEXPIRE', KEYS[3], left)
redis.call('HSET', KEYS[1], 'vote', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'votes', 1)
for i = 3, #ARGV - 1, 2 do redis.call('HINCRBYFLOAT', KEYS[4], ARGV[i], ARGV[i + 1]) end
return 'counted'
"""
