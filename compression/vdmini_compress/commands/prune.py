"""`vdmini-compress prune`: a teacher without some blocks, not healed."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vdmini.engine import Engine
    from vdmini.plan import PruningPlan

NAME = "prune"
HELP = "take blocks out of a teacher, by plan or by budget; what is left is not healed"
EXAMPLES = """\
{prog} compression/teachers/small-i2v --plan deep
{prog} compression/teachers/small-i2v --budget latency=0.6 --output runs/pruned
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("teacher", type=Path, metavar="TEACHER", help="such as compression/teachers/small-i2v")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--plan",
        nargs="+",
        metavar="NAME",
        help="paper (the default), all-pairs, none, deep, magnitude, random:SEED, or blocks",
    )
    chosen.add_argument("--budget", metavar="MEASURE=SHARE", help="such as latency=0.6, parameters=0.6 or flops=0.7")
    parser.add_argument(
        "--importance", type=Path, metavar="FILE", help="with --budget: importance.json of `vdmini-compress analyze`"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the pruned artifact goes; none: only show it")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    import json

    from vdmini.engine import load_engine
    from vdmini_compress.pruning import save_pruned

    engine = load_engine(arguments.teacher, dtype="float32")
    plan, expected = _chosen(arguments, engine)
    if arguments.json:
        sys.stdout.write(json.dumps(plan.to_dict() | {"expected": expected}, indent=2) + "\n")
    console.print(_table(plan, expected))
    if arguments.output:
        save_pruned(engine, arguments.teacher, plan, arguments.output.absolute())
        console.print(f"saved {arguments.output}; it is not healed: see `vdmini-compress run`")
    return 0


def _chosen(arguments: argparse.Namespace, engine: "Engine") -> "tuple[PruningPlan, dict[str, float]]":
    """The plan, and what is expected of it as shares of the teacher's (nothing, without a budget)."""
    from vdmini_compress.importance import read_report
    from vdmini_compress.pruning import resolve_plan, search_budget

    if not arguments.budget:
        names: Any = arguments.plan or ["paper"]
        return resolve_plan(names[0] if len(names) == 1 else tuple(names), engine), {}
    importance = read_report(arguments.importance, engine.manifest.teacher) if arguments.importance else None
    found = search_budget(arguments.budget, engine, importance)
    return found.plan, {"lost": found.lost} | dict(found.left)


def _table(plan: "PruningPlan", expected: dict[str, float]) -> Table:
    table = Table(title=f"{len(plan.removed)} blocks go")
    table.add_column("removed")
    for name in plan.removed:
        table.add_row(name)
    if expected:
        left = ", ".join(f"{100 * expected[m]:.0f} % of the {m}" for m in ("latency", "parameters", "flops"))
        table.caption = f"expected to leave {left}; the errors rise by {expected['lost']:.2f} times the teacher's own"
    return table
