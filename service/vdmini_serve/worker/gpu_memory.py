"""How much of a GPU's memory a model takes while it makes a clip."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class MemoryPeaks:
    """The highest peak of each model. On other devices than GPUs nothing is noted."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    def told(self) -> dict[str, int]:
        """Model -> bytes."""
        return dict(self._bytes)

    @contextmanager
    def watching(self, name: str, device: "torch.device") -> Iterator[None]:
        """Note the peak of what happens inside; other work on the GPU at the same time is in it."""
        if device.type != "cuda":
            yield
            return
        import torch  # only in a worker's child

        torch.cuda.reset_peak_memory_stats(device)
        try:
            yield
        finally:
            self._bytes[name] = max(self._bytes.get(name, 0), torch.cuda.max_memory_allocated(device))
