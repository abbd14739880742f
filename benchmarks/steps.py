"""Score a multi-step model at several numbers of steps, beside single-forward ones, on the same held-out clips.

python benchmarks/steps.py runs/small-svd=1,5,25 runs/small-sf=1 --clips 48 --output benchmarks/results/NAME.json
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from provenance import provenance

from vdmini.engine import load_engine
from vdmini_compress.evaluate import evaluate


def scored(folder: Path, steps: int, clips: int) -> dict[str, Any]:
    """What a model scores when it is sampled in so many steps."""
    engine = load_engine(folder, device="cpu", dtype="float32")
    defaults = engine.manifest.defaults.model_copy(update={"num_inference_steps": steps})
    engine.manifest = engine.manifest.model_copy(update={"defaults": defaults})
    scores = evaluate(engine, count=clips, seed=0)
    rounded = {name: round(value, 4) for name, value in scores.items()}
    identity = engine.manifest.teacher.model_dump(mode="json")
    return {"model": engine.manifest.name, "teacher": identity, "num_inference_steps": steps, "quality": rounded}


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+", metavar="FOLDER=STEPS[,STEPS...]")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    rows = []
    for model in arguments.model:
        folder, _, steps = model.partition("=")
        for count in map(int, steps.split(",")):
            rows.append(scored(Path(folder), count, arguments.clips))
            print(rows[-1], flush=True)
    record = {"clips": arguments.clips, "seed": 0, "scores": rows}
    command = shlex.join(["python", *sys.argv])
    arguments.output.write_text(json.dumps(provenance(command) | record, indent=2) + "\n")


if __name__ == "__main__":
    main()
