"""The models of a worker: opened when they are first needed, put away when room is short, exchanged in between jobs.

Which folders there are is left to its callers and to `worker.watch`.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.models import LoadedModel, open_model, verified, weight_bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Volume:
    """An artifact that was verified.

    Args:
        folder: where it is.
        descriptor: what it is.
    """

    folder: Path
    descriptor: ModelDescriptor


class Shelf(Mapping[str, LoadedModel]):
    """Models by name; looking one up opens it.

    Args:
        settings: device, precision, and how many bytes of weights may be loaded at once.
        volumes: what there is at first.
    """

    def __init__(self, settings: Settings, volumes: Mapping[str, Volume]) -> None:
        self.settings = settings
        self._volumes = dict(volumes)
        self._open: OrderedDict[str, LoadedModel] = OrderedDict()
        self._lock = threading.RLock()

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(tuple(self._volumes))

    def __len__(self) -> int:
        return len(self._volumes)

    def __contains__(self, name: object) -> bool:
        return name in self._volumes

    def __getitem__(self, name: str) -> LoadedModel:
        """Open a model; those that were not needed for the longest time are put away when there is no room for it."""
        with self._lock:
            volume = self._volumes[name]
            if name not in self._open:
                self._make_room(volume)
                self._open[name] = open_model(volume.folder, self.settings)
            self._open.move_to_end(name)
            return self._open[name]

    def descriptors(self) -> list[ModelDescriptor]:
        """What there is, opened or not."""
        with self._lock:
            return [volume.descriptor for volume in self._volumes.values()]

    def folders(self) -> list[Path]:
        """Where the artifacts are."""
        with self._lock:
            return [volume.folder for volume in self._volumes.values()]

    def opened(self) -> tuple[str, ...]:
        """Names of the models that are open, the one that was not needed for the longest time first."""
        with self._lock:
            return tuple(self._open)

    def put(self, volume: Volume) -> None:
        """Add a model or exchange one; it is opened first where it stays open, so that jobs don't wait for it."""
        name = volume.descriptor.name
        wanted = name in self._open or self.settings.max_model_bytes is None
        fresh = open_model(volume.folder, self.settings) if wanted else None
        with self._lock:
            self._volumes[name] = volume
            self._open.pop(name, None)
            if fresh is not None:
                self._open[name] = fresh

    def remove(self, name: str) -> None:
        """Take a model away; a job that runs on it ends as usual."""
        with self._lock:
            self._volumes.pop(name, None)
            self._open.pop(name, None)
        _forget_memory()

    def _make_room(self, volume: Volume) -> None:
        most = self.settings.max_model_bytes
        if most is None:
            return
        needed = weight_bytes(volume.folder, self.settings)
        while self._open and needed + sum(model.weight_bytes for model in self._open.values()) > most:
            name, _ = self._open.popitem(last=False)
            log.info("model %s is put away to make room for %s", name, volume.descriptor.name)
            _forget_memory()


def load(settings: Settings) -> Shelf:
    """The models of `settings.artifacts`, unopened; only in the worker's child.

    Raises:
        vdmini.artifact.ArtifactError: when one is damaged, or two share a name.
    """
    described = zip(settings.artifacts, verified(settings.artifacts), strict=True) if settings.artifacts else ()
    return Shelf(settings, {each.name: Volume(folder, each) for folder, each in described})


def _forget_memory() -> None:
    import gc

    import torch  # only in a worker's child

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
