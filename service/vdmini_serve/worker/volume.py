"""Room on the volume of a worker's artifacts, looked at beside everything else: a volume that hangs stops nothing."""

import logging
import threading
import time
from pathlib import Path

from vdmini_serve.contract.disk import Disk, disk_of
from vdmini_serve.contract.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""Between two looks; artifacts come and go in minutes."""


class ArtifactVolume:
    """Knows how much room there was lately.

    Args:
        path: of artifacts; nothing is known without one.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.disk: Disk | None = None

    def start(self) -> None:
        """Look now and again, in a thread that ends with its process."""
        if self.path is not None:
            threading.Thread(target=self._keep_looking, args=(self.path,), name="volume", daemon=True).start()

    def _keep_looking(self, path: Path) -> None:
        while True:
            self.look(path)
            time.sleep(LOOK_SECONDS)

    def look(self, path: Path) -> None:
        """Look once; what cannot be told is unknown."""
        try:
            self.disk = disk_of(path)
        except OSError as error:
            log.warning("room on the volume of %s is unknown: %s", path, error)
            self.disk = None


def volume_of(settings: Settings) -> ArtifactVolume:
    """That of the folder that is watched, else of the first artifact."""
    return ArtifactVolume(settings.artifacts_dir or next(iter(settings.artifacts), None))
