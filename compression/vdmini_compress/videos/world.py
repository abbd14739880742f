"""Real videos as a world to learn from: the same batches as the small worlds', drawn from encoded videos.

It leaves drawing batches to `vdmini_compress.data`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from vdmini.manifest import Defaults
from vdmini_compress.data import Batch, Cache, ImageWorld, Report, TextWorld, World
from vdmini_compress.recipe import Distill
from vdmini_compress.training import generator_for
from vdmini_compress.videos.cache import ClipCache, Identity, Shard, fill
from vdmini_compress.videos.encoders import ClipEncoder, ImageClipEncoder, TextClipEncoder
from vdmini_compress.videos.films import Film, Listing, fingerprint
from vdmini_compress.videos.reading import Clip, read_clip
from vdmini_compress.videos.settings import ClipForm, Videos
from vdmini_compress.videos.skips import UnusableVideo
from vdmini_compress.videos.sources import list_films

FILMS_PER_SHARD = 32
"""Films tried for one shard; what a kill costs at most."""


class VideoWorld(ABC):
    """Videos for a model.

    Args:
        videos: which ones.
        form: of the clips.
        folder: where encoded clips are kept.
    """

    small: World
    """Whose batches are drawn."""

    def __init__(self, videos: Videos, form: ClipForm, folder: Path) -> None:
        self.videos, self.form, self.folder = videos, form, folder

    @abstractmethod
    def usable(self) -> Listing:
        """The films that the model can be shown."""

    def listing(self) -> Listing:
        """The films that the model learns from."""
        return self.usable().split(self.videos.held_out)[0]

    def held_out(self) -> Listing:
        """The films that it never sees.

        Raises:
            ValueError: when there is none.
        """
        films = self.usable()
        held = films.split(self.videos.held_out)[1]
        if not held.films:
            raise ValueError(
                f"data.videos.held_out {self.videos.held_out} of {len(films.films)} usable films is none, and quality "
                "is measured on held-out ones; give a larger share or more films"
            )
        return held

    @abstractmethod
    def encoder(self, pipeline: Any) -> ClipEncoder:
        """What encodes them."""

    def cache(self, pipeline: Any, count: int, seed: int, report: Report) -> ClipCache:
        """Encode at least `count` clips into the folder, continuing what is there.

        Args:
            pipeline: the teacher's.
            count: clips wanted; where films are fewer, each gives several, from other moments.
            seed: of the order of the films, of the moments and of the noise.
            report: told of progress, and at the end of what was skipped.

        Returns:
            The clips on disk.

        Raises:
            ValueError: when the videos are not laid out as told, none can be used, or the folder holds other clips.
        """
        encoding = Encoding(self.listing(), self.form, self.encoder(pipeline), seed, self.videos.readers)
        return encoding.into(self.folder, count, report)

    def encode(self, pipeline: Any, count: int, seed: int, report: Report) -> Cache:
        """The first `count` clips of `cache`, in memory."""
        return self.cache(pipeline, count, seed, report).as_dict(count)

    def draw(self, pipeline: Any, cache: Cache, settings: Distill, generator: torch.Generator) -> Batch:
        """See `World`; `cache` may also be the `columns` of a `ClipCache`."""
        return self.small.draw(pipeline, cache, settings, generator)


class VideoImageWorld(VideoWorld):
    """Videos for an image-to-video model; `ImageClipEncoder.encode` says what its caches hold."""

    small = ImageWorld()

    def usable(self) -> Listing:
        """All films."""
        return list_films(self.videos)

    def encoder(self, pipeline: Any) -> ClipEncoder:
        """See `ImageClipEncoder`."""
        return ImageClipEncoder(pipeline, self.videos.motion_bucket_id)


class VideoTextWorld(VideoWorld):
    """Videos for a text-to-video model; `TextClipEncoder.encode` says what its caches hold."""

    small = TextWorld()

    def usable(self) -> Listing:
        """The films that have a caption."""
        return list_films(self.videos).captioned()

    def encoder(self, pipeline: Any) -> ClipEncoder:
        """See `TextClipEncoder`."""
        return TextClipEncoder(pipeline)


def video_world(task: str, videos: Videos, defaults: Defaults, folder: Path) -> VideoWorld:
    """The world of a recipe's videos.

    Args:
        task: "i2v" or "t2v".
        videos: what the recipe says.
        defaults: of the teacher; clips get its size and number of frames where `videos` says nothing else.
        folder: where encoded clips are kept.
    """
    form = ClipForm.of(videos, defaults)
    return VideoImageWorld(videos, form, folder) if task == "i2v" else VideoTextWorld(videos, form, folder)


@dataclass(frozen=True)
class Encoding:
    """Reads and encodes films shard by shard.

    Films are taken in an order shuffled anew for each lap through all of them, every time from another moment. The
    start of a clip and its noise depend on the seed and on the film's place in the whole sequence alone.

    Args:
        listing: the films.
        form: of the clips.
        encoder: encodes them.
        seed: of all randomness.
        readers: films read at the same time.
    """

    listing: Listing
    form: ClipForm
    encoder: ClipEncoder
    seed: int
    readers: int

    def into(self, folder: Path, count: int, report: Report) -> ClipCache:
        """Fill the cache in `folder`, or continue it, and tell what was skipped.

        Raises:
            CacheError: when the folder holds other clips or no film can be used.
        """
        films = len(self.listing.films)
        if not films:
            raise ValueError(f"there is no film to learn from; {self.listing.skipped.report()}")
        cache = ClipCache(folder, self.identity())
        report(f"{films} films for {count} clips")
        fill(cache, count, self.shard, patience=1 + films // FILMS_PER_SHARD, report=report)
        skipped = cache.skipped()
        skipped.update(self.listing.skipped)
        report(f"videos: {skipped.report()}")
        return cache

    def identity(self) -> Identity:
        """What decides the clips; the number of readers doesn't."""
        films = {"films": fingerprint(self.listing.films), "films_per_shard": FILMS_PER_SHARD}
        return {"encoder": self.encoder.fingerprint(), "seed": self.seed, **films, **self.form.model_dump()}

    def shard(self, number: int) -> Shard:
        """Make one shard."""
        rows: list[Cache] = []
        skipped: list[tuple[str, str]] = []
        for film, made, generator in self._taken(range(number * FILMS_PER_SHARD, (number + 1) * FILMS_PER_SHARD)):
            if isinstance(made, UnusableVideo):
                skipped.append((film.name, made.reason))
            else:
                rows.append(self.encoder.encode(made.frames_F3HW, film.caption, self.form.fps, generator))
        names = rows[0] if rows else {}
        return Shard({name: torch.cat([row[name] for row in rows]) for name in names}, skipped)

    def _taken(self, places: range) -> Iterator[tuple[Film, Clip | UnusableVideo, torch.Generator]]:
        """Clips in the order of their places; a few are read ahead, no more, since frames are large."""
        with ThreadPoolExecutor(self.readers) as pool:
            for start in range(0, len(places), self.readers):
                yield from pool.map(self._take, places[start : start + self.readers])

    def _take(self, place: int) -> tuple[Film, Clip | UnusableVideo, torch.Generator]:
        films = self.listing.films
        lap, position = divmod(place, len(films))
        film, generator = films[_order(len(films), self.seed, lap)[position]], generator_for(self.seed, place)
        try:
            return film, read_clip(film, self.form, generator), generator
        except UnusableVideo as error:
            return film, error, generator


@lru_cache(maxsize=2)
def _order(count: int, seed: int, lap: int) -> list[int]:
    """A permutation of the films for one lap; laps count down from -1 so that no clip shares their randomness."""
    order: list[int] = torch.randperm(count, generator=generator_for(seed, -1 - lap)).tolist()
    return order
