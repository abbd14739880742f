"""Room on a volume, as `/metrics` and signs of life tell it."""

import shutil
from pathlib import Path

from pydantic import Field

from vdmini_serve.contract.record import Record


class Disk(Record):
    """Room on a volume."""

    free_bytes: int = Field(ge=0, description="left for those who are not root")
    size_bytes: int = Field(ge=0, description="of the whole volume")


def disk_of(path: Path) -> Disk:
    """The volume that a file or folder is on.

    Raises:
        OSError: when it cannot be told.
    """
    usage = shutil.disk_usage(path)
    return Disk(free_bytes=usage.free, size_bytes=usage.total)
