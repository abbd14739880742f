"""Priorities: which there are, and how a worker turns to the queues of all of them."""

from collections.abc import Iterable
from typing import Literal

Lane = Literal["high", "normal", "low"]
LANES: tuple[Lane, ...] = ("high", "normal", "low")
"""From the one that goes first."""


class LaneCycle:
    """The order in which kombu asks queues: strictly by lane, and within a lane every task in turn.

    Its name goes into the broker's transport options, and its methods are kombu's. Kombu's own `priority` would let the
    first task of a lane starve the others, and its `round_robin` knows no lanes.
    """

    def __init__(self) -> None:
        self._queues: list[str] = []

    def update(self, queues: Iterable[str]) -> None:
        """Take these queues from now on."""
        self._queues[:] = queues

    def consume(self, n: int) -> list[str]:
        """The first `n` queues, the most urgent lane first; within a lane the turn stays."""
        return sorted(self._queues, key=_rank)[:n]

    def rotate(self, last_used: str) -> str:
        """Ask the queue that a message just came from last in its lane."""
        if last_used in self._queues:
            self._queues.remove(last_used)
            self._queues.append(last_used)
        return last_used


def _rank(queue: str) -> int:
    lane = queue.rpartition(".")[2]
    return LANES.index(lane) if lane in LANES else len(LANES)
