"""The log of a training: JSON lines, and TensorBoard's event files where the package `tensorboard` is installed."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class Tracker:
    """Appends numbers to `log.jsonl` and to `events.*` in a folder.

    Args:
        folder: of the run; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"
        self._writer: Any = None
        if find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), flush_secs=10)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Log one step's numbers."""
        row = {"step": step} | {name: round(value, 6) for name, value in values.items()}
        with self.path.open("a") as log:
            log.write(json.dumps(row) + "\n")
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer:
            self._writer.close()
