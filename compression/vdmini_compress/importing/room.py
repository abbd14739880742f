"""Whether an artifact fits on the disk, asked before it is written."""

import shutil
from pathlib import Path

from vdmini_compress.preflight import SPARE_BYTES, PreflightError, gibibytes


def check_room(folder: Path, size_bytes: int) -> None:
    """Refuse what won't fit.

    Args:
        folder: where it goes, or where that will be made.
        size_bytes: of all weights.

    Raises:
        PreflightError: naming what is needed and what is free.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < size_bytes + SPARE_BYTES:
        raise PreflightError(
            f"{there} has {gibibytes(free)} free and the artifact needs {gibibytes(size_bytes + SPARE_BYTES)}; "
            "free some space, or give --output on another disk"
        )
