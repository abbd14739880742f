"""The folder in which files are written before they are stored. What dead processes left there is removed."""

import logging
import time
from pathlib import Path

log = logging.getLogger(__name__)


def remove_partial(folder: Path, *, older_than_seconds: float) -> int:
    """Remove files that nobody has written to for so long.

    Returns:
        How many there were.
    """
    oldest, removed = time.time() - older_than_seconds, 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # stored, or removed by another process
        except OSError as error:
            log.warning("%s is not removed: %s", path.name, error)
    return removed
