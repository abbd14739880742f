"""How many workers a load needs: the queueing calculation behind `vdmini-serve capacity`.

Jobs arrive at random (a Poisson process) and wait in one line, and each of some equal workers makes one at a time. What
a job takes is measured elsewhere. The probability of waiting is Erlang's C formula (A. K. Erlang, 1917); for work that
varies less or more than an exponential time the wait is scaled as by Allen and Cunneen (A. O. Allen, "Probability,
Statistics, and Queueing Theory", 1990): exact for exponential times, and an approximation elsewhere.
"""

import json
import math
from dataclasses import dataclass

MOST_WORKERS = 100_000
"""Past this the formulas still hold, and one queue doesn't."""
SECONDS_PER_HOUR = 3600


class CapacityError(ValueError):
    """A load that means nothing, or that no number of workers serves; the message says what is allowed."""


@dataclass(frozen=True)
class Load:
    """What has to be served.

    Args:
        jobs_per_hour: that arrive, on average over the busiest hour; above 0.
        seconds_per_job: a worker's mean seconds for one job, from its start to the next one's; above 0.
        variation: standard deviation of those seconds over their mean: 0 when all jobs are alike, 1 for exponential.

    Raises:
        CapacityError: for a number that is out of its range.
    """

    jobs_per_hour: float
    seconds_per_job: float
    variation: float = 1.0

    def __post_init__(self) -> None:
        for name in ("jobs_per_hour", "seconds_per_job"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise CapacityError(f"{name} is {value}; give a number above 0")
        if not (math.isfinite(self.variation) and self.variation >= 0):
            raise CapacityError(f"variation is {self.variation}; give 0 (all jobs alike) or more")

    @property
    def offered(self) -> float:
        """Workers that would be busy on average if nothing ever waited (erlangs)."""
        return self.jobs_per_hour * self.seconds_per_job / SECONDS_PER_HOUR


@dataclass(frozen=True)
class Line:
    """How a load fares with so many workers; there are more of them than `load.offered`.

    Args:
        load: what arrives.
        workers: that take it.
    """

    load: Load
    workers: int

    @property
    def utilisation(self) -> float:
        """Share of the time that a worker is busy, 0 to 1."""
        return self.load.offered / self.workers

    @property
    def waiting_share(self) -> float:
        """Share of the jobs that find all workers busy, 0 to 1 (Erlang C)."""
        blocked = 1.0  # Erlang B by its recursion over workers, which neither overflows nor loses digits
        for number in range(1, self.workers + 1):
            blocked = self.load.offered * blocked / (number + self.load.offered * blocked)
        return blocked / (1 - self.utilisation * (1 - blocked))

    @property
    def mean_wait_seconds(self) -> float:
        """Mean wait of all jobs, those that need not wait included."""
        return self.waiting_share / self._drain_per_second

    def late_share(self, seconds: float) -> float:
        """Share of the jobs that wait longer than so many seconds."""
        return self.waiting_share * math.exp(-seconds * self._drain_per_second)

    def wait_seconds(self, share: float) -> float:
        """The wait that this share of the jobs does not exceed, such as 0.95."""
        late = 1 - share
        waiting = self.waiting_share
        return 0.0 if waiting <= late else math.log(waiting / late) / self._drain_per_second

    @property
    def _drain_per_second(self) -> float:
        free = (self.workers - self.load.offered) / self.load.seconds_per_job
        return free * 2 / (1 + self.load.variation**2)


def workers_for(load: Load, *, wait_seconds: float, share: float = 0.95) -> int:
    """The fewest workers with which `share` of the jobs start within `wait_seconds`.

    Raises:
        CapacityError: when `wait_seconds` is negative, `share` not between 0 and 1, or the answer is above 100,000.
    """
    if not (math.isfinite(wait_seconds) and wait_seconds >= 0):
        raise CapacityError(f"wait is {wait_seconds} s; give 0 or more")
    if not 0 < share < 1:
        raise CapacityError(f"share is {share}; give a number between 0 and 1, such as 0.95")
    if load.offered >= MOST_WORKERS:
        raise CapacityError(
            f"{load.offered:.0f} workers would be busy all the time; one queue is meant for at most {MOST_WORKERS}: "
            "split the load over several deployments"
        )
    low = math.floor(load.offered) + 1
    high = low
    while Line(load, high).late_share(wait_seconds) > 1 - share:
        low, high = high + 1, high + max(1, high - math.floor(load.offered))
    while low < high:
        middle = (low + high) // 2
        if Line(load, middle).late_share(wait_seconds) > 1 - share:
            low = middle + 1
        else:
            high = middle
    return low


def table(load: Load, *, wait_seconds: float, share: float) -> list[dict[str, float]]:
    """The fewest workers that don't fall behind, the fewest that keep the wait, and one and two more of these."""
    least = math.floor(load.offered) + 1
    enough = workers_for(load, wait_seconds=wait_seconds, share=share)
    return [_row(Line(load, number), wait_seconds, share) for number in sorted({least, enough, enough + 1, enough + 2})]


def _row(line: Line, wait_seconds: float, share: float) -> dict[str, float]:
    return {
        "workers": line.workers,
        "utilisation": round(line.utilisation, 4),
        "mean_wait_seconds": round(line.mean_wait_seconds, 3),
        "wait_seconds": round(line.wait_seconds(share), 3),
        "in_time": round(1 - line.late_share(wait_seconds), 4),
    }


def report(load: Load, *, wait_seconds: float, share: float, as_json: bool) -> str:
    """The answer for a person, or as JSON for a program."""
    rows = table(load, wait_seconds=wait_seconds, share=share)
    enough = workers_for(load, wait_seconds=wait_seconds, share=share)
    if as_json:
        asked = {"jobs_per_hour": load.jobs_per_hour, "seconds_per_job": load.seconds_per_job}
        asked |= {"variation": load.variation, "wait_seconds": wait_seconds, "share": share}
        return json.dumps({"asked": asked, "workers": enough, "table": rows}, indent=2)
    noun = "worker" if enough == 1 else "workers"
    lines = [
        f"{enough} {noun}: then {share:.0%} of the jobs start within {wait_seconds:g} s.",
        "",
        f"workers   busy   mean wait   wait of {share:.0%}   within {wait_seconds:g} s",
        *(_line(row) for row in rows),
        "",
        "A worker more carries the load while one restarts or is upgraded.",
    ]
    return "\n".join(lines)


def _line(row: dict[str, float]) -> str:
    return (
        f"{row['workers']:7.0f} {row['utilisation']:6.0%} {row['mean_wait_seconds']:9.2f} s "
        f"{row['wait_seconds']:11.2f} s {row['in_time']:13.1%}"
    )
