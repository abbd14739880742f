"""What a result store does, and which one the settings mean. `results.local` and `results.remote` do it.

All calls block: the API makes them in threads (`api.results`).
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vdmini_serve.contract.disk import Disk
from vdmini_serve.contract.settings import Settings


class StoreAwayError(Exception):
    """The store does not answer, or refuses; it may do so later."""


class ResultMissingError(Exception):
    """The store answers and has no such file."""


class StoreChoiceError(Exception):
    """The settings name a store that cannot be opened; the message says what to do."""


@dataclass(frozen=True)
class StoredFile:
    """A file in a store.

    Args:
        name: without any folder.
        size_bytes: its size.
        modified_at: Unix time in seconds.
    """

    name: str
    size_bytes: int
    modified_at: float


class ResultStore(Protocol):
    """A flat folder of result files. A name either has its whole content or does not exist."""

    def put(self, path: Path, name: str) -> None:
        """Store a local file under a name, at once or not at all; `path` may be gone afterwards.

        Raises:
            OSError: when a local volume cannot take it.
            StoreAwayError: when a remote store cannot.
        """

    def size(self, name: str) -> int:
        """Bytes of a file.

        Raises:
            ResultMissingError: when there is none.
            StoreAwayError: when it cannot be told.
        """

    def read(self, name: str, first: int, last: int) -> Generator[bytes, None, None]:
        """Bytes `first` to `last` inclusive, in pieces; close the generator.

        Raises:
            ResultMissingError: when there is no such file.
            StoreAwayError: when it cannot be read, or ends too early.
        """

    def link(self, name: str, seconds: int) -> str | None:
        """A URL that hands out the file for so long without any key; None from a store that makes none."""

    def remove(self, name: str) -> bool:
        """Remove a file; False when there was none.

        Raises:
            StoreAwayError: when it is unknown whether it is gone.
        """

    def files(self) -> Iterator[StoredFile]:
        """All files, in no order.

        Raises:
            StoreAwayError: when they cannot be listed.
        """

    def disk(self) -> Disk | None:
        """The volume; None where room has no bound.

        Raises:
            StoreAwayError: when it cannot be told.
        """


def open_store(settings: Settings) -> ResultStore:
    """The store that the settings mean.

    Raises:
        StoreChoiceError: when its library is missing or its URL makes no sense.
    """
    if settings.results_url is None:
        from vdmini_serve.results.local import LocalStore

        return LocalStore(settings.results_dir)
    from vdmini_serve.results.remote import RemoteStore  # fsspec is an extra

    return RemoteStore(settings.results_url.get_secret_value())
