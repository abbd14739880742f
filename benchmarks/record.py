"""Record what an artifact's own vdmini.json says was measured, with command, commit, hardware and date.

python benchmarks/record.py "COMMAND THAT MADE THEM" FOLDER... > benchmarks/results/NAME.json

A folder that `vdmini-compress bench` wrote is recorded as it is.
"""

import json
import sys
from pathlib import Path

from provenance import provenance

KEPT = ("name", "variant", "teacher", "removed_blocks", "cost", "recipe", "training", "latency", "quality")


def main(command: str, folders: list[str]) -> None:
    """Print the record as JSON."""
    benches = [json.loads((Path(folder) / "bench.json").read_text()) for folder in folders if _is_bench(folder)]
    if benches:
        print(json.dumps(provenance(command) | {"benches": benches}, indent=2))
        return
    manifests = [json.loads((Path(folder) / "vdmini.json").read_text()) for folder in folders]
    artifacts = [{key: manifest[key] for key in KEPT} for manifest in manifests]
    for artifact, folder in zip(artifacts, folders, strict=True):
        decoder = Path(folder) / "decoder.json"
        if decoder.exists():
            artifact["decoder"] = json.loads(decoder.read_text())
    print(json.dumps(provenance(command) | {"artifacts": artifacts}, indent=2))


def _is_bench(folder: str) -> bool:
    return (Path(folder) / "bench.json").exists()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
