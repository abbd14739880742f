"""Taking in a clip piece by piece: its hash is compared, and a file appears whole or not at all."""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from vdmini_client.errors import DamagedClipError

_HASH = re.compile(r'^"([0-9a-f]{64})"$')


class Fingerprint:
    """The hash of the pieces so far.

    Args:
        sha256: what it must come to; None takes it from the answer's ETag.
    """

    def __init__(self, sha256: str | None) -> None:
        self.wanted = sha256
        self.size_bytes = 0
        self._hash = hashlib.sha256()

    def expect(self, headers: Mapping[str, str]) -> None:
        """Note the ETag of an answer whose hash wasn't known before."""
        if self.wanted is None and (match := _HASH.match(headers.get("etag", ""))):
            self.wanted = match[1]

    def update(self, piece: bytes) -> None:
        """Take the next piece."""
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def check(self) -> None:
        """Compare, after the last piece.

        Raises:
            DamagedClipError: when something else arrived.
        """
        got = self._hash.hexdigest()
        if self.wanted is not None and got != self.wanted:
            raise DamagedClipError(
                f"the clip arrived damaged: {self.size_bytes} bytes with sha256 {got[:12]}..., not "
                f"{self.wanted[:12]}...; download it again"
            )


class Receiver:
    """A file in the making; inside `with`, then `finish`.

    Args:
        path: where the whole file goes; None keeps it in `content`.
        sha256: of the clip, where it is known.
    """

    def __init__(self, path: Path | None, sha256: str | None) -> None:
        self.path, self.fingerprint = path, Fingerprint(sha256)
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None
        self._partial: Path | None = None

    def __enter__(self) -> Self:
        if self.path is not None:
            handle, partial = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
            self._file, self._partial = os.fdopen(handle, "wb"), Path(partial)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    @property
    def content(self) -> bytes:
        """What arrived, where there is no path."""
        return b"".join(self._pieces)

    def take(self, piece: bytes) -> None:
        """Take the next piece."""
        self.fingerprint.update(piece)
        if self._file is None:
            self._pieces.append(piece)
        else:
            self._file.write(piece)

    def finish(self) -> None:
        """Compare the hash, and give the file its name.

        Raises:
            DamagedClipError: when something else arrived; no file appears then.
        """
        self.fingerprint.check()
        if self.path is not None and self._file is not None and self._partial is not None:
            self._file.close()
            os.chmod(self._partial, 0o644)
            os.replace(self._partial, self.path)
