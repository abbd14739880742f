"""An MP4 without the words in it: its comment names the model, which people who compare clips must not know.

What holds words (`udta`, `meta`, `uuid`) becomes free space of the same length, so all offsets stay right.
"""

from collections.abc import Iterator

_INSIDE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_WORDS = (b"udta", b"meta", b"uuid")


class BrokenBoxesError(ValueError):
    """These bytes are no MP4."""


def nameless(clip: bytes) -> bytes:
    """The same clip, bit by bit the same pictures, without metadata.

    Raises:
        BrokenBoxesError: when it is no whole MP4: nothing is then known about what it tells.
    """
    cleaned = bytearray(clip)
    _clean(cleaned, 0, len(cleaned))
    return bytes(cleaned)


def _clean(clip: bytearray, start: int, end: int) -> None:
    for kind, begin, content, until in _boxes(clip, start, end):
        if kind in _WORDS:
            clip[begin + 4 : begin + 8] = b"free"
            clip[content:until] = bytes(until - content)
        elif kind in _INSIDE:
            _clean(clip, content, until)


def _boxes(clip: bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, begin, begin of the content, and end of each box (ISO/IEC 14496-12, 4.2)."""
    while start < end:
        size, kind = int.from_bytes(clip[start : start + 4]), bytes(clip[start + 4 : start + 8])
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(clip[start + 8 : start + 16]), start + 16
        until = start + size if size else end
        if not content <= until <= end:
            raise BrokenBoxesError(f"a box at byte {start} ends at {until}, what holds it at {end}")
        yield kind, start, content, until
        start = until
