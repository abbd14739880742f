"""A third party's checkpoint, read without running any of its code and without copying it into memory.

It leaves the meaning of its keys to others: `place` only holds them against what is wanted.
"""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SHOWN = 5
"""So many keys of each kind are named in an error; the rest is counted."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be imported; the message says what was got, what is allowed and what to do."""


@dataclass(frozen=True)
class Slot:
    """Where one of a checkpoint's tensors goes.

    Args:
        name: its name in the diffusers model.
        shape: its shape there.
        published: its shape in the checkpoint; the same number of values in the same order.
    """

    name: str
    shape: tuple[int, ...]
    published: tuple[int, ...]


def read_pickle(path: Path) -> Any:
    """Map what `torch.save` wrote into memory: pages are read when a tensor is, and can be dropped again.

    Args:
        path: the file. Nothing but tensors and plain containers is unpickled (`weights_only=True`).

    Raises:
        CheckpointError: when there is no such file, it is damaged or cut short, holds anything else, or is in the
            format of before PyTorch 1.6, which can't be mapped.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path} is not a file; give a checkpoint that you downloaded (docs/import.md says where)"
        )
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors, and code in a checkpoint is never run: {_line(error)}. "
            "Download it again; where that doesn't help, it is another file than docs/import.md names"
        ) from error
    except (RuntimeError, EOFError) as error:
        if "mmap can only be used" in str(error):
            raise CheckpointError(
                f"{path} is in the format of before PyTorch 1.6, which can't be read piece by piece; if you trust it, "
                "load it with torch.load and write it with torch.save once"
            ) from error
        raise CheckpointError(f"{path} is damaged or cut short ({_line(error)}); download it again") from error


def tensors_in(loaded: Any, path: Path, what: str) -> dict[str, Tensor]:
    """A state dict, checked to hold nothing but named tensors of floating point numbers.

    Args:
        loaded: a part of what `read_pickle` gave.
        path: where it is from.
        what: what it should be, for the error.

    Raises:
        CheckpointError: when it is something else.
    """
    if isinstance(loaded, list) and all(isinstance(value, Tensor) for value in loaded):
        raise CheckpointError(
            f"{path} is a list of {len(loaded)} tensors without names: a LoRA, as T2V-Turbo's first version is "
            "published. Merge it into VideoCrafter2's U-Net and save that, or take T2V-Turbo-v2's unet_mg.pt; "
            f"needed is {what}"
        )
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds {type(loaded).__name__}; needed is {what}")
    others = [
        str(key) for key, value in loaded.items() if not (isinstance(value, Tensor) and value.is_floating_point())
    ]
    if others:
        raise CheckpointError(f"{path} holds other things than weights: {_some(others)}; needed is {what}")
    return dict(loaded)


def part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose keys begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def place(state: Mapping[str, Tensor], slots: Mapping[str, Slot], what: str) -> dict[str, Tensor]:
    """Give every tensor its place; no value is read.

    Args:
        state: the checkpoint's key -> tensor.
        slots: the checkpoint's key -> where it goes.
        what: whose keys these are, for the error.

    Returns:
        The model's name -> tensor, in the model's shape.

    Raises:
        CheckpointError: see `check_keys`.
    """
    check_keys({key: tuple(value.shape) for key, value in state.items()}, slots, what)
    return {slot.name: state[key].reshape(slot.shape) for key, slot in slots.items()}


def check_keys(shapes: Mapping[str, tuple[int, ...]], slots: Mapping[str, Slot], what: str) -> None:
    """Hold a checkpoint's keys and shapes against what is wanted.

    Raises:
        CheckpointError: naming what is missing, what is left over, and what has another shape.
    """
    complaints = [
        *_complaint("missing", (key for key in slots if key not in shapes)),
        *_complaint("not known", (key for key in shapes if key not in slots)),
        *_complaint(
            "of another shape",
            (
                f"{key} {list(shapes[key])} instead of {list(slot.published)}"
                for key, slot in slots.items()
                if key in shapes and shapes[key] != slot.published
            ),
        ),
    ]
    if complaints:
        raise CheckpointError(
            f"{what}: of {len(slots)} weights {'; '.join(complaints)}. Only the published architecture is known; "
            "download the file again, or take the one that docs/import.md names"
        )


def _complaint(kind: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    return [f"{len(found)} {kind}: {_some(found)}"] if found else []


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _line(error: BaseException) -> str:
    """An error's first sentence: torch appends pages of advice."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
