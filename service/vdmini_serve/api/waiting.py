"""A job that waits or runs, as far as the queue is concerned."""

from dataclasses import dataclass

from vdmini_serve.contract.lanes import LANES, Lane


@dataclass(frozen=True)
class Waiting:
    """A job that waits or runs.

    Args:
        id: of the job.
        task: i2v or t2v.
        lane: its priority.
        created_at: Unix time.
        running: whether it runs.
        left_seconds: what it is expected to take from now on once it runs; None when that is unknown.
    """

    id: str
    task: str
    lane: Lane
    created_at: float
    running: bool
    left_seconds: float | None

    @property
    def turn(self) -> tuple[int, float]:
        """Sorts jobs in the order in which they start."""
        return LANES.index(self.lane), self.created_at
