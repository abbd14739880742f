"""Searches the plan that loses least within a budget, from measured block importance.

What a plan loses is taken to be the sum of what its blocks lose one at a time, content and motion each as a share of
the teacher's own error, and what it saves likewise. Shares have no unit, so reports of any measures will do. Every set
of units is tried: there are some dozens.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from vdmini.plan import PruningPlan
from vdmini_compress.importance import ImportanceReport
from vdmini_compress.units import Unit, UnitCosts, outermost, plan_of, units_of

MEASURES = ("latency", "parameters", "flops")
MOST_UNITS = 16


class BudgetError(ValueError):
    """A budget that cannot be read or met."""


@dataclass(frozen=True)
class Budget:
    """How much of the teacher's U-Net may be left.

    Args:
        measure: one of `MEASURES`.
        share: in 0..1.
    """

    measure: str
    share: float

    @staticmethod
    def parse(text: str) -> "Budget":
        """Read a budget such as "latency=0.6".

        Raises:
            BudgetError: when it isn't one.
        """
        measure, _, value = text.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if measure not in MEASURES or not 0 < share < 1:
            wanted = ", ".join(f"{name}=SHARE" for name in MEASURES)
            raise BudgetError(f"budget {text!r} cannot be read; give one of {wanted}, SHARE between 0 and 1")
        return Budget(measure, share)


@dataclass(frozen=True)
class Candidate:
    """One plan and what is expected of it.

    Args:
        units: what it removes.
        lost: expected rise of the errors, content's and motion's as shares of the teacher's, added up.
        left: "latency", "parameters" and "flops" that are left, as shares of the teacher's U-Net.
    """

    units: tuple[Unit, ...]
    lost: float
    left: Mapping[str, float]

    @property
    def plan(self) -> PruningPlan:
        """As a pruning plan."""
        return plan_of(self.units)


def search(report: ImportanceReport, unet: Any, costs: UnitCosts, budget: Budget) -> Candidate:
    """The plan that is expected to lose least of those within the budget.

    Args:
        report: of this teacher.
        unet: the teacher's.
        costs: of it, at the size that counts.
        budget: what may be left.

    Raises:
        BudgetError: when no plan is within the budget, or the report lacks a block.
    """
    found = list(candidates(report, unet, costs))
    within = [candidate for candidate in found if candidate.left[budget.measure] <= budget.share]
    if not within:
        least = min(candidate.left[budget.measure] for candidate in found)
        raise BudgetError(
            f"no plan leaves {budget.share:.2f} of the {budget.measure} or less; the smallest leaves {least:.2f}"
        )
    return min(within, key=lambda candidate: (candidate.lost, candidate.left[budget.measure]))


def candidates(report: ImportanceReport, unet: Any, costs: UnitCosts) -> Iterator[Candidate]:
    """Every plan of whole units, the empty one first."""
    units = units_of(unet)
    if len(units) > MOST_UNITS:
        raise BudgetError(f"this U-Net has {len(units)} units, too many to try all sets of them; give a plan")
    if report.content_error <= 0 or report.motion_error <= 0:
        raise BudgetError("the importance report's teacher makes no error to compare with; analyze it on other clips")
    worth = {unit: _worth(report, unit) for unit in units}
    for count in range(len(units) + 1):
        for chosen in combinations(units, count):
            if outermost(chosen) == chosen:
                yield _candidate(chosen, worth, report, costs)


def _candidate(
    units: tuple[Unit, ...], worth: Mapping[Unit, tuple[float, float]], report: ImportanceReport, costs: UnitCosts
) -> Candidate:
    seconds = sum(worth[unit][1] for unit in units)
    left = costs.left(units) | {"latency": 1 - seconds / report.forward_seconds}
    return Candidate(units, sum(worth[unit][0] for unit in units), left)


def _worth(report: ImportanceReport, unit: Unit) -> tuple[float, float]:
    """What a unit is expected to lose (shares of the teacher's errors) and to save (seconds)."""
    rows = [_row(report, name) for name in _measured(unit, report)]
    content = sum(row.content_lost for row in rows) / report.content_error
    motion = sum(row.motion_lost for row in rows) / report.motion_error
    return content + motion, sum(row.seconds_saved for row in rows)


def _measured(unit: Unit, report: ImportanceReport) -> Iterable[str]:
    """The rows of the report that stand for a unit: the innermost stage was measured as one, others pair by pair."""
    if unit.inner_from is None:
        return unit.blocks
    innermost = f"down_blocks.{report.stages - 1}"
    stages = tuple(b for b in unit.blocks if b.count(".") == 1)
    outer = [s for s in stages if s not in (innermost, "up_blocks.0")]
    pairs = [b.name for b in report.blocks if b.kind == "pair" and b.name.rpartition(".resnets.")[0] in outer]
    return [innermost, *pairs]


def _row(report: ImportanceReport, name: str) -> Any:
    kinds = ("pair", "middle", "stage")
    for row in report.blocks:
        if row.name == name and row.kind in kinds:
            return row
    raise BudgetError(f"the importance report has no row for {name}; analyze this teacher again")
