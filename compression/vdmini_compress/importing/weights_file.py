"""A safetensors file of float16 weights, written one tensor at a time.

`safetensors.torch.save_file` wants all of them in memory at once, which for a large checkpoint is half of it again. The
format: eight bytes with the header's length, the header as JSON, the tensors one behind the other.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

ALIGNMENT = 8
KINDS = {torch.float16: ("F16", 2), torch.int64: ("I64", 8)}
"""torch's type -> the format's name of it and bytes per value; whole numbers (of positions) stay what they are."""


class OverflowedError(ValueError):
    """A weight that float16 cannot hold."""


def write_weights(
    path: Path,
    tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    read: Callable[[str], Tensor],
    *,
    source: str,
) -> None:
    """Write weights as float16.

    Args:
        path: the file; its folder is made.
        tensors: name -> shape and type as read.
        read: gives the tensor of a name, float of any precision or int64; only one is held at a time.
        source: where the weights are from, for the error.

    Raises:
        OverflowedError: when a value isn't finite, or is beyond float16's largest, 65504.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_header({name: (shape, _stored(dtype)) for name, (shape, dtype) in tensors.items()}))
        for name in tensors:
            value = _half(read(name), name, source)
            file.write(value.contiguous().numpy().data)


def weight_bytes_of(tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> int:
    """Bytes that `write_weights` will write, without the header."""
    return sum(math.prod(shape) * KINDS[_stored(dtype)][1] for shape, dtype in tensors.values())


def listed(state: Mapping[str, Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Tensors as `write_weights` wants them told."""
    return {name: (tuple(value.shape), value.dtype) for name, value in state.items()}


def _stored(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype == torch.int64 else torch.float16


def _header(tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (shape, dtype) in tensors.items():
        kind, width = KINDS[dtype]
        start, end = end, end + math.prod(shape) * width
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _half(value: Tensor, name: str, source: str) -> Tensor:
    if value.dtype == torch.int64:
        return value
    made = value.to(torch.float16)
    low, high = torch.aminmax(made)  # both are NaN when any value is, and neither needs memory
    if not (torch.isfinite(low) and torch.isfinite(high)):
        largest = value.abs().max().item()
        raise OverflowedError(
            f"{source}: {name} has a value of {largest:g}, and float16, in which artifacts are stored, ends at 65504; "
            "the file is damaged, or this model can't be stored in float16. Download it again"
        )
    return made
