"""What votes say: the share that prefers the compressed model, and how sure that is. Votes are counted elsewhere.

No difference counts as half a vote for either, so that 0.5 means: as good as the teacher. Half votes vary less than
whole ones, so the interval is then wider than it had to be, never narrower.
"""

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import cast

from pydantic import Field

from vdmini_serve.contract import metrics
from vdmini_serve.contract.comparison import Question
from vdmini_serve.contract.metrics import Family
from vdmini_serve.contract.record import Record

Z_95 = 1.959963984540054
"""95 % of a normal distribution lie within so many standard deviations."""


class Preference(Record):
    """What people preferred of one model and its teacher."""

    task: str = Field(description="i2v or t2v")
    model: str = Field(description="name of the compressed model")
    question: Question = Field(description="looks: which looks better; moves: which moves more naturally")
    vdmini: int = Field(description="answers that prefer the compressed model")
    same: int = Field(description="answers that see no difference")
    teacher: int = Field(description="answers that prefer the teacher")
    rate: float = Field(description="(vdmini + same / 2) / answers; 0.5 is as good as the teacher")
    low: float = Field(description="lower end of its 95 % interval (Wilson)")
    high: float = Field(description="upper end of its 95 % interval (Wilson)")


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927, JASA 22, 209-212).

    Args:
        successes: from 0 to `trials`.
        trials: 1 at least.

    Raises:
        ValueError: when they are no proportion.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no proportion")
    share, squared = successes / trials, Z_95**2 / trials
    centre = share + squared / 2
    spread = sqrt(squared * (share * (1 - share) + squared / 4))
    return max(0.0, (centre - spread) / (1 + squared)), min(1.0, (centre + spread) / (1 + squared))


def preferences(votes: Mapping[tuple[str, ...], float]) -> list[Preference]:
    """What the counter `metrics.VOTES` says, by its labels."""
    grouped: dict[tuple[str, str, Question], dict[str, int]] = {}
    for (task, model, question, preferred), count in sorted(votes.items()):
        grouped.setdefault((task, model, cast("Question", question)), {})[preferred] = int(count)
    return [_preference(*labels, counts) for labels, counts in grouped.items() if sum(counts.values())]


def _preference(task: str, model: str, question: Question, counts: Mapping[str, int]) -> Preference:
    vdmini, same, teacher = (counts.get(each, 0) for each in ("vdmini", "same", "teacher"))
    answers, points = vdmini + same + teacher, vdmini + same / 2
    low, high = wilson_interval(points, answers)
    return Preference(
        task=task,
        model=model,
        question=question,
        vdmini=vdmini,
        same=same,
        teacher=teacher,
        rate=points / answers,
        low=low,
        high=high,
    )


def gauges(found: Iterable[Preference]) -> dict[Family, dict[tuple[str, ...], float]]:
    """The same as metrics."""
    known = {(each.task, each.model, each.question): each for each in found}
    return {
        metrics.PREFERENCE: {labels: each.rate for labels, each in known.items()},
        metrics.PREFERENCE_LOW: {labels: each.low for labels, each in known.items()},
        metrics.PREFERENCE_HIGH: {labels: each.high for labels, each in known.items()},
    }
