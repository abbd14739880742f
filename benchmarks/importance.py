"""Put block importances of several seeds together: does depth carry motion, and do shallow blocks carry content?

    for SEED in 0 1 2; do vdmini-compress analyze TEACHER --seed $SEED --output runs/importance/NAME-$SEED; done
    python benchmarks/importance.py runs/importance/NAME-* --output benchmarks/results/NAME.json --picture docs/NAME.png

A block's motion share is m / (m + c), where m and c are its motion and content lost as multiples of the teacher's own
errors: above one half it is worth more to motion. A block that loses less than a hundredth of either is idle, and its
share says nothing. Depth is counted from the outermost stage.
"""

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from provenance import provenance
from scipy.stats import spearmanr

from vdmini_compress.importance import BlockImportance, ImportanceReport
from vdmini_compress.importance_plot import depth_of

IDLE = 0.01
MEASURES = ("content_lost", "motion_lost", "motion_share", "milliseconds_saved")


def measured(block: BlockImportance, report: ImportanceReport) -> dict[str, float]:
    """What one block is worth; losses as multiples of the teacher's own errors."""
    content = max(0.0, block.content_lost / report.content_error)
    motion = max(0.0, block.motion_lost / report.motion_error)
    share = motion / (motion + content) if motion + content else 0.5
    return {
        "content_lost": block.content_lost / report.content_error,
        "motion_lost": block.motion_lost / report.motion_error,
        "motion_share": share,
        "milliseconds_saved": 1000 * block.seconds_saved,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    return {"mean": round(statistics.fmean(values), 4), "sd": round(statistics.stdev(values), 4)}


def by_block(reports: Sequence[ImportanceReport]) -> list[dict[str, Any]]:
    """Each block's depth and its measures over seeds."""
    rows = []
    for blocks in zip(*(report.blocks for report in reports), strict=True):
        found = [measured(block, report) for block, report in zip(blocks, reports, strict=True)]
        depth = depth_of(blocks[0], reports[0].stages - 1)
        rows.append(
            {"block": blocks[0].label, "kind": blocks[0].kind, "depth": depth}
            | {name: spread([one[name] for one in found]) for name in MEASURES}
        )
    return rows


def idle(worth: dict[str, float]) -> bool:
    """Whether a block does nothing that can be told from rounding."""
    return max(worth["content_lost"], worth["motion_lost"]) < IDLE


def correlations(reports: Sequence[ImportanceReport]) -> dict[str, Any]:
    """Spearman's correlation of each measure with depth, over each seed's pairs; idle ones have no share.

    None where a seed's pairs that do something are all equally deep.
    """
    found: dict[str, list[float | None]] = {name: [] for name in MEASURES[:3]}
    for report in reports:
        pairs = [
            (depth_of(block, report.stages - 1), measured(block, report))
            for block in report.blocks
            if block.kind == "pair"
        ]
        for name, values in found.items():
            rows = [(depth, worth[name]) for depth, worth in pairs if name != "motion_share" or not idle(worth)]
            some_depths = len({depth for depth, _ in rows}) > 1
            values.append(float(spearmanr(*zip(*rows, strict=True)).statistic) if some_depths else None)
    return {name: None if None in values else spread(values) for name, values in found.items()}


def idle_pairs(reports: Sequence[ImportanceReport]) -> list[str]:
    """Pairs that are idle with every seed."""
    sets = [
        {block.label for block in report.blocks if block.kind == "pair" and idle(measured(block, report))}
        for report in reports
    ]
    return sorted(set.intersection(*sets))


def by_stage(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over the pairs of each stage, in the order in which they run."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "pair":
            stages.setdefault(row["block"].split()[0], []).append(row)
    return {
        stage: {name: round(statistics.fmean(row[name]["mean"] for row in some), 4) for name in MEASURES}
        for stage, some in stages.items()
    }


def draw(record: dict[str, Any], path: Path) -> None:
    """Bars of what each pair loses in content and in motion, with their spread over seeds, in running order."""
    rows = [row for row in record["blocks"] if row["kind"] == "pair"]
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name, title in zip(
        figure.subplots(2, 1, sharex=True),
        ("content_lost", "motion_lost"),
        ("content: appearance error added", "motion: trajectory error added"),
        strict=True,
    ):
        axes.bar(
            [row["block"] for row in rows],
            [row[name]["mean"] for row in rows],
            yerr=[row[name]["sd"] for row in rows],
            color=[f"C{row['depth']}" for row in rows],
            capsize=3,
        )
        axes.set(title=f"{title}, as a multiple of the teacher's own", yscale="symlog")
        axes.grid(axis="y", alpha=0.3)
        axes.tick_params(axis="x", rotation=60)
    spread_over = f"colour: depth; mean and sd of {record['seeds']} seeds"
    figure.suptitle(f"{record['teacher']}: one R-A pair off at a time, no healing ({spread_over})")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Read the reports, write the record and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--picture", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    reports = [
        ImportanceReport.model_validate_json((folder / "importance.json").read_text()) for folder in arguments.folders
    ]
    rows = by_block(reports)
    record = provenance(shlex.join(["python", *sys.argv])) | {
        "teacher": reports[0].teacher.id,
        "sha256": reports[0].teacher.sha256,
        "seeds": len(reports),
        "clips": reports[0].clips,
        "correlation_with_depth": correlations(reports),
        "idle_pairs": idle_pairs(reports),
        "stages": by_stage(rows),
        "blocks": rows,
    }
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    draw(record, arguments.picture)
    print(
        json.dumps(
            {key: record[key] for key in ("teacher", "correlation_with_depth", "idle_pairs", "stages")}, indent=2
        )
    )


if __name__ == "__main__":
    main()
