"""Check the memory that `vdmini-compress plan` tells against what training really takes, narrow, on a CPU.

    python benchmarks/step_memory.py --output benchmarks/results/NAME.json

Every case trains in a process of its own (`benchmarks/train_step.py`) and reports the most resident memory beyond what
the process had once everything was imported. That holds what the allocator keeps back, too, which no estimate counts.
A step has one batch: several are computed side by side on a CPU, and in turn on a GPU, which is what is estimated.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from provenance import provenance

HERE = Path(__file__).parent
RECIPES = HERE.parent / "compression/recipes"

CASES = (
    ("svd-i2v", "64", "6", "128x128", {}),
    ("svd-i2v", "64", "6", "128x128", {"gradient_checkpointing": False}),
    ("svd-i2v", "64", "8", "256x192", {}),
    ("svd-i2v", "128", "6", "128x128", {}),
    ("t2v-turbo-v2", "64", "8", "192x128", {}),
    ("t2v-turbo-v2", "64", "8", "192x128", {"gradient_checkpointing": False}),
)
"""Recipe, channels of the first stage, frames, pixels, and what differs from the recipe."""


def run(case: tuple[str, str, str, str, dict[str, Any]]) -> dict[str, Any]:
    """One case in a process of its own."""
    recipe, width, frames, size, distill = case
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "row.json"
        options = [
            "--width",
            width,
            "--frames",
            frames,
            "--size",
            size,
            "--device",
            "cpu",
            "--steps",
            "2",
            "--batches",
            "1",
            "--no-decoder",
        ]
        script, path = str(HERE / "train_step.py"), str(RECIPES / f"{recipe}.yaml")
        command = [sys.executable, script, path, *options, "--distill", json.dumps(distill), "--output", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own script
        row = json.loads(output.read_text())["recipes"][0]
    told = row["estimate"]["memory"]["total"]
    kept = {"width": int(width), "size": row["size"], "gradient_checkpointing": row["gradient_checkpointing"]}
    return {
        "recipe": recipe,
        **kept,
        "measured_bytes": row["step"]["peak_bytes"],
        "estimated_bytes": told,
        "measured_over_estimated": row["measured_over_estimated_memory"],
        "estimate": row["estimate"]["memory"],
    }


def main() -> None:
    """Run all cases and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)), help="which of them (all)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for number in arguments.cases:
        rows.append(run(CASES[number]))
        print(json.dumps(rows[-1]), flush=True)
        record = provenance(shlex.join(["python", *sys.argv])) | {"cases": rows}
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
