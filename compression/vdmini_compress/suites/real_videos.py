"""Real clips: the beginnings of films, or of all videos in a folder, UCF101's or anybody's.

It leaves decoding to `vdmini_compress.videos.reading`. Legend: F frames, H height, W width, 3 colour channels.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from vdmini_compress.videos.films import Film, find_videos
from vdmini_compress.videos.reading import read_clip
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.videos.skips import Tally, UnusableVideo


class FilmClips:
    """The beginning of each of some films, in their order.

    Args:
        films: what is read.
        form: frames, frame rate and size of the clips; larger pictures are scaled and cropped in the middle.
    """

    def __init__(self, films: Iterable[Film], form: ClipForm) -> None:
        self.films = [_beginning(film, form.num_frames / form.fps) for film in films]
        self.form, self.skipped = form, Tally()

    def __len__(self) -> int:
        """How many films there are, short and broken ones included."""
        return len(self.films)

    def clip(self, index: int) -> Tensor | None:
        """Clip [F, 3, H, W], float32 in 0..1, or None if no such clip can be had; `skipped` counts why."""
        film = self.films[index]
        try:
            return read_clip(film, self.form, torch.Generator()).frames_F3HW
        except UnusableVideo as why:
            self.skipped.add(film.name, why.reason)
            return None


class FolderClips(FilmClips):
    """The beginning of each video below a folder, in the order of their names.

    Args:
        folder: holds the videos, nested or not.
        form: see `FilmClips`.

    Raises:
        ValueError: when the folder is missing or holds no video.
    """

    def __init__(self, folder: Path, form: ClipForm) -> None:
        super().__init__((Film(path, name) for name, path in find_videos(folder).items()), form)


def _beginning(film: Film, seconds: float) -> Film:
    """A film that ends where the clip ends leaves the reader no other start than its first frame."""
    end = film.start_seconds + seconds
    return replace(film, end_seconds=end if film.end_seconds is None else min(end, film.end_seconds))
