"""Where a recorded figure comes from: command, commit, date, hardware and versions."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def provenance(command: str) -> dict[str, Any]:
    """The fields that every file in `benchmarks/results` begins with.

    Args:
        command: what was typed, from the project's folder. Where that is no clone, COMMIT in the environment says
            which commit it is.
    """
    return {
        "command": command,
        "commit": os.environ.get("COMMIT") or _output("git", "rev-parse", "HEAD"),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count()} | _gpu(),
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def _gpu() -> dict[str, str]:
    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return named[0].partition(":")[2].strip() if named else platform.processor()


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
