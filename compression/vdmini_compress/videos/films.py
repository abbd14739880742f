"""Films: video files with what is said about them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vdmini_compress.videos.skips import Tally

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})


@dataclass(frozen=True)
class Film:
    """One stretch of one video file.

    Args:
        path: the file.
        name: its path below the source's folder, as reports tell it.
        caption: what it shows, or None.
        label: its class, or None.
        start_seconds: where the stretch starts, in seconds of playing time from the file's first frame.
        end_seconds: where it ends; None is the file's end.
    """

    path: Path
    name: str
    caption: str | None = None
    label: str | None = None
    start_seconds: float = 0.0
    end_seconds: float | None = None


@dataclass(frozen=True)
class Listing:
    """What a source found.

    Args:
        films: in an order that depends on nothing but the source's content.
        skipped: entries for which there is no usable file.
    """

    films: tuple[Film, ...]
    skipped: Tally = field(default_factory=Tally)

    def captioned(self) -> "Listing":
        """Only the films that have a caption; the others count as skipped."""
        skipped = Tally()
        skipped.update(self.skipped)
        for film in self.films:
            if film.caption is None:
                skipped.add(film.name, "no caption")
        return Listing(tuple(film for film in self.films if film.caption is not None), skipped)

    def split(self, share: float) -> "tuple[Listing, Listing]":
        """The films to learn from and those held out; which is which follows from a film's file name alone.

        Several films of one file stay together, so no held-out clip was seen in another cut.

        Args:
            share: of the files to hold out, 0 to below 1; rounded down.
        """
        names = sorted({film.name for film in self.films}, key=lambda name: hashlib.sha256(name.encode()).digest())
        out = set(names[: int(share * len(names))])
        kept, held = (tuple(f for f in self.films if (f.name in out) is wanted) for wanted in (False, True))
        return Listing(kept, self.skipped), Listing(held)


def find_videos(folder: Path) -> dict[str, Path]:
    """Video files below a folder, told by their suffix.

    Returns:
        Path below the folder, with slashes -> path; sorted. Hidden files are left out.

    Raises:
        ValueError: when the folder is missing or holds no video.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the folder that holds the videos")
    files = (p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    found = {p.relative_to(folder).as_posix(): p for p in files if p.is_file()}
    if not found:
        raise ValueError(f"{folder} holds no video; files must end in one of {', '.join(sorted(VIDEO_SUFFIXES))}")
    return dict(sorted(found.items()))


def fingerprint(films: Iterable[Film]) -> str:
    """Hex sha256 over names, file sizes, captions and stretches; contents are not read."""
    digest = hashlib.sha256()
    for film in films:
        row = [film.name, film.path.stat().st_size, film.caption, film.label, film.start_seconds, film.end_seconds]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
