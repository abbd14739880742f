"""Results on a local volume that API and workers share."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

from vdmini_serve.contract.disk import Disk, disk_of
from vdmini_serve.results.store import ResultMissingError, StoreAwayError, StoredFile

CHUNK_BYTES = 256 * 1024


class LocalStore:
    """See `results.store.ResultStore`.

    Args:
        folder: of the files; files to `put` must lie on the same volume.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path, name: str) -> None:
        """Write the file's content through to the disk, then rename it: a power cut leaves all of it or nothing."""
        _flush(path)
        os.replace(path, self.folder / name)
        _flush(self.folder)

    def size(self, name: str) -> int:
        """Bytes of a file."""
        try:
            return (self.folder / name).stat().st_size
        except FileNotFoundError as error:
            raise ResultMissingError(name) from error
        except OSError as error:
            raise StoreAwayError(str(error)) from error

    def read(self, name: str, first: int, last: int) -> Generator[bytes, None, None]:
        """The open file outlives its removal, so a download that has begun is whole."""
        left = last - first + 1
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(first)
                while left > 0:
                    chunk = file.read(min(CHUNK_BYTES, left))
                    if not chunk:
                        raise StoreAwayError(f"{name} ends {left} bytes too early")
                    left -= len(chunk)
                    yield chunk
        except FileNotFoundError as error:
            raise ResultMissingError(name) from error
        except OSError as error:
            raise StoreAwayError(str(error)) from error

    def link(self, _name: str, _seconds: int) -> str | None:
        """None: a folder signs nothing."""
        return None

    def remove(self, name: str) -> bool:
        """Remove a file."""
        try:
            (self.folder / name).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreAwayError(str(error)) from error
        return True

    def files(self) -> Iterator[StoredFile]:
        """Files that vanish meanwhile are left out."""
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    try:
                        if entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            yield StoredFile(entry.name, status.st_size, status.st_mtime)
                    except FileNotFoundError:
                        continue
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreAwayError(str(error)) from error

    def disk(self) -> Disk:
        """The volume; the folder need not exist yet."""
        try:
            return disk_of(next((path for path in (self.folder, *self.folder.parents) if path.exists()), Path("/")))
        except OSError as error:
            raise StoreAwayError(str(error)) from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
