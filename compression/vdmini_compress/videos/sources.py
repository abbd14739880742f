"""Where films come from: a folder of videos, OpenVid-1M or UCF101, each in its own layout."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from vdmini_compress.videos.films import Film, Listing, find_videos
from vdmini_compress.videos.settings import Videos
from vdmini_compress.videos.skips import Tally
from vdmini_compress.videos.tables import Row, read_table

FOLDER_TABLES = ("captions.csv", "captions.jsonl")
OPENVID_TABLES = ("OpenVid-1M.csv", "OpenVidHD.csv")
UCF101_LISTS = "ucfTrainTestlist"


def list_films(videos: Videos) -> Listing:
    """Find the films that a recipe asks for.

    Raises:
        ValueError: when the folder or a table is missing or laid out otherwise, saying how it should be.
    """
    return SOURCES[videos.source](videos)


def folder_films(videos: Videos) -> Listing:
    """Any video below a folder.

    Captions come from a table (`captions.csv` or `captions.jsonl` in the folder, or the given one) with the columns
    file and caption, and optionally start and end in seconds, several rows per file being several films; else from
    `NAME.txt` beside the video; else there are none.
    """
    found, skipped = find_videos(videos.path), Tally()
    table = videos.captions or _first(videos.path / name for name in FOLDER_TABLES)
    films = []
    for row in read_table(table, ("file", "caption")) if table else ():
        if row["file"] in found:
            films.append(_film_of(row, found[row["file"]], table))
        else:
            skipped.add(row["file"], "file missing")
    told = {film.name for film in films}
    for name in (name for name in found if name not in told):
        try:
            films.append(Film(found[name], name, _text_beside(found[name])))
        except UnicodeDecodeError:
            skipped.add(name, "caption unreadable")
    return Listing(tuple(sorted(films, key=lambda film: (film.name, film.start_seconds))), skipped)


def openvid_films(videos: Videos) -> Listing:
    """OpenVid-1M (arXiv 2407.02371): its CSV names each video; the unpacked videos lie anywhere below the folder.

    Rows without a file are counted, since few keep all parts of it.
    """
    table = videos.captions or _first(
        place / name
        for place in (videos.path, videos.path / "data/train", videos.path.parent)
        for name in OPENVID_TABLES
    )
    if table is None:
        raise ValueError(f"no {' or '.join(OPENVID_TABLES)} in or beside {videos.path}; give it as captions")
    found = {path.name: (name, path) for name, path in find_videos(videos.path).items()}
    films, skipped = {}, Tally()
    for row in read_table(table, ("video", "caption")):
        if row["video"] in found:
            name, path = found[row["video"]]
            films[name] = Film(path, name, row["caption"] or None)
        else:
            skipped.add(row["video"], "file missing")
    if not films:
        raise ValueError(f"none of the {len(skipped)} videos in {table} is below {videos.path}; unpack its parts there")
    return Listing(tuple(films[name] for name in sorted(films)), skipped)


def ucf101_films(videos: Videos) -> Listing:
    """UCF101 (arXiv 1212.0402): a folder per class; the class's name in words is the caption.

    Its published lists are looked for in the folder, in `ucfTrainTestlist` inside it and beside it.
    """
    found = {f"{path.parent.name}/{path.name}": path for path in find_videos(videos.path).values()}
    found = {name: path for name, path in found.items() if path.parent != videos.path}
    if not found:
        raise ValueError(f"{videos.path} has no class folders such as ApplyEyeMakeup with videos in them")
    names, skipped = list(found), Tally()
    if videos.split:
        names = _split_names(videos.path, videos.split)
        for name in names:
            if name not in found:
                skipped.add(name, "file missing")
    films = [_film_of_class(name, found[name]) for name in sorted(set(names) & set(found))]
    return Listing(tuple(films), skipped)


SOURCES: dict[str, Callable[[Videos], Listing]] = {
    "folder": folder_films,
    "openvid": openvid_films,
    "ucf101": ucf101_films,
}


def class_words(label: str) -> str:
    """A class name in words: "ApplyEyeMakeup" is "apply eye makeup"."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z_\s]+", label)).lower()


def _film_of_class(name: str, path: Path) -> Film:
    label = path.parent.name
    return Film(path, name, class_words(label), label)


def _split_names(folder: Path, split: str) -> list[str]:
    file_name = f"{split[:-2]}list{split[-2:]}.txt"
    places = (folder, folder / UCF101_LISTS, folder.parent / UCF101_LISTS)
    path = _first(place / file_name for place in places)
    if path is None:
        raise ValueError(f"no {file_name} in {', '.join(map(str, places))}; unpack UCF101's {UCF101_LISTS} there")
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def _film_of(row: Row, path: Path, table: Path | None) -> Film:
    start, end = row.get("start", ""), row.get("end", "")
    try:
        first, last = float(start or 0), float(end) if end else None
    except ValueError as error:
        raise ValueError(f"{table}: {row['file']} goes from {start!r} to {end!r}; give seconds or nothing") from error
    if first < 0 or (last is not None and last <= first):
        raise ValueError(f"{table}: {row['file']} goes from {first} to {last}; the end must come after the start")
    return Film(path, row["file"], row["caption"] or None, None, first, last)


def _text_beside(path: Path) -> str | None:
    """The words of `NAME.txt`; a `UnicodeDecodeError` when it is not UTF-8."""
    text = path.with_suffix(".txt")
    return " ".join(text.read_text(encoding="utf-8-sig").split()) or None if text.is_file() else None


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
