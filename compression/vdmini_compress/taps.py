"""Taps: they collect what named modules put out during one forward pass."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def tapped(model: nn.Module, names: dict[str, str]) -> Iterator[dict[str, Tensor]]:
    """Collect outputs while the block runs, those of this thread's forward passes alone.

    Args:
        model: the U-Net.
        names: label -> module name.

    Yields:
        Label -> that module's latest output, filled by each forward pass; the hooks are gone afterwards.
    """
    outputs: dict[str, Tensor] = {}
    owner = threading.get_ident()

    def collect(label: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if threading.get_ident() == owner:
                outputs[label] = output if isinstance(output, Tensor) else output[0]

        return hook

    handles = [model.get_submodule(name).register_forward_hook(collect(label)) for label, name in names.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
