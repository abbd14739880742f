"""Whether the engine of one checkout is faster than another's: the same clip, a process of each in turn.

    git worktree add --detach ../before HEAD~1
    python benchmarks/two_checkouts.py ../before . compression/teachers/small-t2v --output benchmarks/results/NAME.json

Each process loads the artifact with the switches that its own checkout found to pay on the device, makes clips, and
tells the median time of each stage; ratios are of processes of the same round. Frames are compared, too.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance

from vdmini.engine import load_engine
from vdmini.switches import label, settings_for
from vdmini_compress.evaluate import settings_of
from vdmini_compress.latency import interval
from vdmini_compress.material import sample_input

WARM_UP = 3
CLIPS = 12


def one_side(artifact: Path, frames: Path, device: str | None) -> dict[str, Any]:
    """Median seconds of each stage in this process; the last clip's frames are kept in a file."""
    engine = load_engine(artifact, device=device)
    engine.tune(settings_for(engine.torch_device))
    wanted = settings_of(engine, **sample_input(engine))
    made = [engine.generate(**wanted) for _ in range(WARM_UP + CLIPS)]
    np.save(frames, made[-1].frames)
    timed = made[WARM_UP:]
    seconds = {stage: statistics.median(one.seconds[stage] for one in timed) for stage in timed[0].seconds}
    return {"device": engine.device, "runtime": label(engine.runtime), "seconds": seconds}


def asked(checkout: Path, artifact: Path, frames: Path, device: str | None) -> dict[str, Any]:
    """`one_side` in a process of a checkout's own code."""
    packages = (checkout.resolve() / name for name in ("model", "compression", "service"))
    words = [sys.executable, __file__, "--side", str(frames), str(artifact)] + (["--device", device] if device else [])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, packages))}
    ran = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def likeness_db(before: Path, after: Path) -> float | None:
    """PSNR of two files of uint8 frames; None where they are equal."""
    error = np.square(np.load(before).astype(np.float64) - np.load(after)).mean()
    return float(round(10 * np.log10(255**2 / error), 2)) if error else None


def compared(checkouts: tuple[Path, Path], artifact: Path, rounds: int, device: str | None) -> dict[str, Any]:
    """Both sides of one artifact, in an order that turns."""
    told: list[list[dict[str, Any]]] = [[], []]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{side}.npy" for side in range(2)]
        for turn in range(rounds):
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                told[side].append(asked(checkouts[side], artifact, files[side], device))
        alike = likeness_db(files[0], files[1])
    totals = [[sum(one["seconds"].values()) for one in side] for side in told]
    ratios = [before / after for before, after in zip(*totals, strict=True)]
    stages = told[0][0]["seconds"]
    return {
        "artifact": artifact.name,
        "device": told[0][0]["device"],
        "runtime": [side[0]["runtime"] for side in told],
        "seconds": [
            {name: round(statistics.median(one["seconds"][name] for one in side), 6) for name in stages}
            for side in told
        ],
        "times_as_fast": {"median": round(statistics.median(ratios), 3), "interval": interval(ratios)},
        "likeness_db": alike,
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="BEFORE AFTER ARTIFACT", help="artifacts: one or more")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--device", default=None)
    parser.add_argument("--output", type=Path, metavar="FILE")
    parser.add_argument("--side", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(one_side(arguments.paths[0], arguments.side, arguments.device)))
        return
    if len(arguments.paths) < 3 or arguments.output is None:
        parser.error("give two checkouts, an artifact or more, and --output")
    before, after, *artifacts = arguments.paths
    found = [compared((before, after), artifact, arguments.rounds, arguments.device) for artifact in artifacts]
    record = provenance(shlex.join(["python", *sys.argv])) | {"rounds": arguments.rounds, "artifacts": found}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    for one in found:
        print(one["artifact"], one["times_as_fast"], one["likeness_db"], one["seconds"])


if __name__ == "__main__":
    main()
