"""Encoded clips on disk: safetensors shards in a folder with an index.

Every shard is a function of its number, so a cache that was cut off continues to the same bytes. It leaves what is in
a shard to its maker.

Legend: N clips, B picked clips.
"""

import bisect
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vdmini_compress.data import Cache, Report
from vdmini_compress.videos.skips import Tally

INDEX = "index.json"
VERSION = 1

Identity = Mapping[str, str | int | float]
"""All that decides what a cache holds, by name."""


class CacheError(ValueError):
    """A cache that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Shard:
    """Some clips.

    Args:
        tensors: the first dimension of each counts the clips; empty where no clip came out.
        skipped: (name, reason) of each video that was tried in vain.
    """

    tensors: Cache
    skipped: Sequence[tuple[str, str]]

    @property
    def clips(self) -> int:
        """How many clips it holds."""
        return len(next(iter(self.tensors.values()), ()))


class ClipCache:
    """The cache in a folder.

    Args:
        folder: of its files.
        identity: what it must hold; None takes what is there.

    Raises:
        CacheError: when the folder holds something else, naming the difference.
    """

    def __init__(self, folder: Path, identity: Identity | None = None) -> None:
        self.folder = folder
        index = _read_index(folder) if (folder / INDEX).exists() else _new_index(folder, identity)
        _refuse_another(folder, index["identity"], identity)
        self.identity: Identity = index["identity"]
        self._clips: list[int] = index["clips"]
        self._ends = list(itertools.accumulate(self._clips))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def shards(self) -> int:
        """How many shards there are, empty ones included."""
        return len(self._clips)

    def append(self, shard: Shard) -> None:
        """Write the next shard, then the index; either is there whole or not at all."""
        path = self._path(self.shards)
        partial = path.with_suffix(".partial")
        # One key: safetensors writes several in any order, and the same clips shall give the same bytes.
        save_file(shard.tensors, partial, metadata={"skipped": json.dumps(list(shard.skipped))})
        os.replace(partial, path)
        self._clips.append(shard.clips)
        self._ends.append(len(self) + shard.clips)
        _write_index(self.folder, self.identity, self._clips)

    def drop_damaged(self) -> int | None:
        """Forget the first damaged shard and those after it, to be made again.

        Returns:
            The shard's number, or None when all are whole.
        """
        for number, clips in enumerate(self._clips):
            if not _is_whole(self._path(number), clips):
                del self._clips[number:], self._ends[number:]
                return number
        return None

    def skipped(self) -> Tally:
        """Videos that were tried in vain."""
        tally = Tally()
        for number in range(self.shards):
            with self._open(number) as file:
                for name, reason in json.loads(file.metadata()["skipped"]):
                    tally.add(name, reason)
        return tally

    def batch(self, index_B: Tensor, names: Collection[str] | None = None) -> Cache:
        """Read some clips; no others are touched.

        Args:
            index_B: which ones, int64 in 0..N - 1, repeated or not.
            names: which of their tensors; all by default.

        Returns:
            Tensors as they were encoded, their first dimension B.

        Raises:
            IndexError: when a number is out of range.
        """
        rows: dict[str, list[Tensor]] = {}
        for clip in index_B.tolist():
            if not 0 <= clip < len(self):
                raise IndexError(f"clip {clip} is not in a cache of {len(self)}")
            number = bisect.bisect_right(self._ends, clip)
            row = clip - self._ends[number] + self._clips[number]
            with self._open(number) as file:
                for name in names or file.keys():
                    rows.setdefault(name, []).append(file.get_slice(name)[row : row + 1])
        return {name: torch.cat(parts) for name, parts in rows.items()}

    def columns(self, count: int | None = None) -> Cache:
        """The first `count` clips, or all, left on disk: they can only be indexed by an int64 tensor or sliced."""
        length = len(self) if count is None else min(count, len(self))
        with self._open(next(number for number, clips in enumerate(self._clips) if clips)) as file:
            return {name: cast(Tensor, Column(self, name, length)) for name in file.keys()}  # noqa: SIM118 - no mapping

    def as_dict(self, count: int | None = None) -> Cache:
        """The first `count` clips, or all, in memory."""
        shards = [load_file(self._path(number)) for number, clips in enumerate(self._clips) if clips]
        return {name: torch.cat([shard[name] for shard in shards])[:count] for name in shards[0]}

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.safetensors"

    def _open(self, number: int) -> Any:
        return safe_open(self._path(number), framework="pt")


@dataclass(frozen=True)
class Column:
    """One tensor of a cache, whose rows are read when they are asked for."""

    cache: ClipCache
    name: str
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        return self.cache.batch(torch.arange(len(self))[rows], (self.name,))[self.name]


def fill(cache: ClipCache, count: int, make: Callable[[int], Shard], *, patience: int, report: Report) -> None:
    """Add shards until a cache holds at least `count` clips.

    Args:
        cache: continued where it ends.
        count: clips wanted.
        make: makes a shard of its number.
        patience: shards without any clip to bear in a row.
        report: told after each shard.

    Raises:
        CacheError: when that many shards gave nothing.
    """
    damaged = cache.drop_damaged()
    if damaged is not None:
        report(f"shard {damaged} is damaged; encoding goes on from there")
    barren = 0
    while len(cache) < count:
        shard = make(cache.shards)
        cache.append(shard)
        barren = 0 if shard.clips else barren + 1
        if barren >= patience:
            raise CacheError(f"no clip came out of {barren} shards in a row; {cache.skipped().report()}")
        report(f"encoded {min(len(cache), count)}/{count} clips")


def key_of(identity: Identity) -> str:
    """Hex sha256 of an identity."""
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def _new_index(folder: Path, identity: Identity | None) -> dict[str, Any]:
    if identity is None:
        raise CacheError(f"{folder} has no {INDEX}; give the folder of encoded clips")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CacheError(f"{folder} holds something else than encoded clips; give another folder or empty it")
    return _write_index(folder, identity, [])


def _write_index(folder: Path, identity: Identity, clips: list[int]) -> dict[str, Any]:
    index = {"version": VERSION, "key": key_of(identity), "identity": dict(identity), "clips": clips}
    partial = folder / f"{INDEX}.partial"
    partial.write_text(json.dumps(index, indent=1) + "\n")
    os.replace(partial, folder / INDEX)
    return index


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text())
        whole = index["version"] == VERSION and index["key"] == key_of(index["identity"]) and index["clips"] is not None
    except (ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{path} is damaged ({error}); remove the folder to encode again") from error
    if not whole:
        raise CacheError(f"{path} is damaged or of another version; remove the folder to encode again")
    return index


def _refuse_another(folder: Path, there: Identity, wanted: Identity | None) -> None:
    if wanted is None or key_of(there) == key_of(wanted):
        return
    names = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    told = "; ".join(f"{name} is {there.get(name)} there and {wanted.get(name)} here" for name in names)
    raise CacheError(f"{folder} holds clips that were encoded otherwise: {told}. Give another folder or remove it")


def _is_whole(path: Path, clips: int) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return all(file.get_slice(name).get_shape()[0] == clips for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError):
        return False
