"""Writing what a run found, with where it comes from, like the files in `benchmarks/results`."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def write(found: dict[str, Any], output: Path | None) -> None:
    """Print the figures; with `output`, also keep them there with command, commit, date and hardware."""
    print(json.dumps(found, indent=2))
    if output is None:
        return
    sys.path.append(str(ROOT / "benchmarks"))
    from provenance import provenance  # imports torch, which a run itself doesn't need

    command = " ".join(["python", f"scripts/load/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    output.write_text(json.dumps(provenance(command) | found, indent=2) + "\n")


def quantiles(values: Sequence[float], *, digits: int = 4) -> dict[str, float]:
    """Median, 95th and 99th percentile, the largest, and how many there are; empty without values."""
    if not values:
        return {"count": 0}
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    named = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
    return {"count": len(values)} | {name: round(value, digits) for name, value in named.items()}
