"""Record what an artifact's own vdmini.json says was measured, with command, commit, hardware and date.

python benchmarks/record.py "COMMAND THAT MADE THEM" FOLDER... > benchmarks/results/NAME.json
"""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

KEPT = ("name", "variant", "teacher", "removed_blocks", "cost", "recipe", "training", "latency", "quality")


def main(command: str, folders: list[str]) -> None:
    """Print the record as JSON."""
    manifests = [json.loads((Path(folder) / "vdmini.json").read_text()) for folder in folders]
    record = {
        "command": command,
        "commit": _output("git", "rev-parse", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
        "artifacts": [{key: manifest[key] for key in KEPT} for manifest in manifests],
    }
    print(json.dumps(record, indent=2))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return named[0].partition(":")[2].strip() if named else platform.processor()


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
