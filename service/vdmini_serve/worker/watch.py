"""Watching a folder of artifacts: what is new or changed is verified and served, what is damaged is refused by name."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from vdmini_serve.worker.models import artifact_folders, describe
from vdmini_serve.worker.shelf import Shelf, Volume

log = logging.getLogger(__name__)

Fingerprint = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of every file: enough to see that a folder was written to."""


class Watch:
    """Keeps a shelf like a folder whose subfolders are artifacts.

    An artifact that can't be verified changes nothing: what was served under its name is served on.

    Args:
        root: the folder.
        shelf: the models.
        changed: called after the shelf has changed.
    """

    def __init__(self, root: Path, shelf: Shelf, changed: Callable[[], None]) -> None:
        self.root, self.shelf, self._changed = root, shelf, changed
        self.refused: dict[str, str] = {}
        self._seen: dict[Path, Fingerprint] = {}
        self._names: dict[Path, str] = {}
        self._stop = threading.Event()

    def start(self, every_seconds: float) -> None:
        """Look again and again, in a thread, until `close`."""
        threading.Thread(target=self._run, args=(every_seconds,), name="watch", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self, every_seconds: float) -> None:
        while not self._stop.wait(every_seconds):
            try:
                self.look()
            except Exception:  # the edge of the thread
                log.exception("cannot look for artifacts below %s", self.root)

    def look(self) -> None:
        """Compare the folder with the shelf once."""
        before = (self.shelf.descriptors(), dict(self.refused))
        found = {path: fingerprint(path) for path in artifact_folders(self.root)}
        for folder, mark in found.items():
            if self._seen.get(folder) != mark:
                self._seen[folder] = mark
                self._take(folder)
        for folder in self._seen.keys() - found.keys():
            self._drop(folder)
        if before != (self.shelf.descriptors(), self.refused):
            self._changed()

    def _take(self, folder: Path) -> None:
        from vdmini.artifact import ArtifactError, verify  # the API image has no model package

        try:
            volume = Volume(folder, describe(verify(folder)))
            self._refuse_a_double(volume)
        except (ArtifactError, OSError) as error:
            log.error("artifact %s is not served: %s", folder.name, error)
            self.refused[folder.name] = str(error)
            return
        self.refused.pop(folder.name, None)
        former = self._names.get(folder)
        if former not in (None, volume.descriptor.name):
            self.shelf.remove(former or "")
        self.shelf.put(volume)
        self._names[folder] = volume.descriptor.name
        log.warning("artifact %s is served as %s", folder.name, volume.descriptor.name)

    def _refuse_a_double(self, volume: Volume) -> None:
        from vdmini.artifact import ArtifactError

        name = volume.descriptor.name
        others = [folder for folder, taken in self._names.items() if taken == name and folder != volume.folder]
        if others or (name in self.shelf and name not in self._names.values()):
            where = others[0].name if others else "VDMINI_ARTIFACTS"
            raise ArtifactError(f"{volume.folder.name} is named {name}, as is what {where} gave; rename one")

    def _drop(self, folder: Path) -> None:
        self._seen.pop(folder)
        self.refused.pop(folder.name, None)
        name = self._names.pop(folder, None)
        if name is not None:
            self.shelf.remove(name)
            log.warning("artifact %s is gone, and %s with it", folder.name, name)


def fingerprint(folder: Path) -> Fingerprint:
    """What tells that a folder was written to; a file that vanishes meanwhile is left out."""
    marks = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        marks.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return tuple(marks)
