"""Record what an artifact's own vdmini.json says was measured, with command, commit, hardware and date.

python benchmarks/record.py "COMMAND THAT MADE THEM" FOLDER... > benchmarks/results/NAME.json
"""

import json
import sys
from pathlib import Path

from provenance import provenance

KEPT = ("name", "variant", "teacher", "removed_blocks", "cost", "recipe", "training", "latency", "quality")


def main(command: str, folders: list[str]) -> None:
    """Print the record as JSON."""
    manifests = [json.loads((Path(folder) / "vdmini.json").read_text()) for folder in folders]
    artifacts = [{key: manifest[key] for key in KEPT} for manifest in manifests]
    for artifact, folder in zip(artifacts, folders, strict=True):
        decoder = Path(folder) / "decoder.json"
        if decoder.exists():
            artifact["decoder"] = json.loads(decoder.read_text())
    print(json.dumps(provenance(command) | {"artifacts": artifacts}, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
