"""Results at an fsspec URL: S3 and what speaks like it, Google's and Azure's stores, SFTP.

Credentials and addresses come from where each driver looks for them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
instance roles, `FSSPEC_S3_...`), so that no secret is a setting of ours.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec

from vdmini_serve.results.store import ResultMissingError, StoreAwayError, StoreChoiceError, StoredFile

CHUNK_BYTES = 2**20
"""One request to the store each; most clips are no larger."""

OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "use_listings_cache": False,  # other processes write and remove
        "skip_instance_cache": True,
        "config_kwargs": {
            "connect_timeout": 5,
            "read_timeout": 20,
            "retries": {"max_attempts": 2},
            "signature_version": "s3v4",  # signed links default to the version before, which new regions refuse
        },
    }
}
_MODIFIED = ("LastModified", "last_modified", "mtime", "modified", "updated")
"""What drivers call the time of the last change."""


class RemoteStore:
    """See `results.store.ResultStore`.

    Args:
        url: such as `s3://bucket/folder`. The folder is this service's alone: what belongs to no job is removed.

    Raises:
        StoreChoiceError: when fsspec knows no such URL, or the driver's library is missing.
    """

    def __init__(self, url: str) -> None:
        protocol = url.partition("://")[0]
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, **OPTIONS.get(protocol, {}))
        except ImportError as error:
            detail = (
                f"VDMINI_RESULTS_URL starts with {protocol}://, whose library is missing ({error}); S3's comes with"
            )
            raise StoreChoiceError(f"{detail} `pip install 'vdmini[s3]'`") from error
        except ValueError as error:
            raise StoreChoiceError(f"VDMINI_RESULTS_URL starts with {protocol}://, unknown to fsspec") from error
        self._root = self._root.rstrip("/")

    def put(self, path: Path, name: str) -> None:
        """Object stores show an object once all of it has arrived."""
        with _translated(name):
            self._files.put_file(str(path), self._path(name))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with _translated(name):
            return int(self._files.info(self._path(name))["size"])

    def read(self, name: str, first: int, last: int) -> Generator[bytes, None, None]:
        """Each piece is a request of its own: nothing is held open while a slow client reads."""
        for start in range(first, last + 1, CHUNK_BYTES):
            end = min(start + CHUNK_BYTES, last + 1)
            with _translated(name):
                chunk: bytes = self._files.cat_file(self._path(name), start=start, end=end)
            if len(chunk) != end - start:
                raise StoreAwayError(f"{name}: asked for {end - start} bytes, got {len(chunk)}")
            yield chunk

    def link(self, name: str, seconds: int) -> str | None:
        """Signing happens here, without a request."""
        with _translated(name):
            try:
                return str(self._files.sign(self._path(name), expiration=seconds))
            except NotImplementedError:
                return None

    def remove(self, name: str) -> bool:
        """Stores don't tell whether they had what they remove, so that is asked first."""
        try:
            self.size(name)
            with _translated(name):
                self._files.rm_file(self._path(name))
        except ResultMissingError:
            return False
        return True

    def files(self) -> Iterator[StoredFile]:
        """Listed in one piece."""
        try:
            with _translated(self._root):
                entries = self._files.ls(self._root, detail=True)
        except ResultMissingError:
            return
        for entry in entries:
            if entry["type"] == "file":
                yield StoredFile(entry["name"].rpartition("/")[2], int(entry["size"] or 0), _modified_at(entry))

    def disk(self) -> None:
        """None: there is no bound."""

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _modified_at(entry: Mapping[str, Any]) -> float:
    """Unix time of the last change; a file of unknown age counts as new and is kept."""
    found = next((entry[key] for key in _MODIFIED if entry.get(key) is not None), None)
    if isinstance(found, datetime):
        return found.timestamp()
    return float(found) if isinstance(found, int | float) else time.time()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ResultMissingError(name) from error
    except Exception as error:  # the edge to drivers, which raise errors of libraries that we don't know
        raise StoreAwayError(f"{name}: {type(error).__name__}: {error}") from error
