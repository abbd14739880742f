"""Caption tables: CSV and JSON Lines files with a row per video."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

Row = dict[str, str]


def read_table(path: Path, needed: tuple[str, ...]) -> Iterator[Row]:
    """Read a table of captions row by row: OpenVid-1M's has a million of them.

    Args:
        path: UTF-8; `.jsonl` holds an object per line, anything else is CSV with a header.
        needed: columns that every row must have.

    Yields:
        The rows; values are stripped, and what is absent or null is an empty text.

    Raises:
        ValueError: when the file is missing, is no such table or lacks a column; the message names what it has.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _jsonl(file, needed) if path.suffix.lower() == ".jsonl" else _csv(file, needed)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}); give the file that holds the captions") from error
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no table of captions ({error}); give a CSV or JSONL file in UTF-8") from error
    except MissingColumns as error:
        raise ValueError(f"{path} has the columns {error}; it needs {', '.join(needed)}, spelled so") from error


class MissingColumns(Exception):
    """Some needed column is not there; the message lists those that are."""


def _csv(file: Iterator[str], needed: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.DictReader(file)
    _check(reader.fieldnames or (), needed)
    for row in reader:
        yield {name: (value or "").strip() for name, value in row.items() if name is not None}


def _jsonl(file: Iterator[str], needed: tuple[str, ...]) -> Iterator[Row]:
    for line in file:
        if not line.strip():
            continue
        row = json.loads(line)
        _check(row if isinstance(row, dict) else (), needed)
        yield {name: "" if value is None else str(value).strip() for name, value in row.items()}


def _check(names: object, needed: tuple[str, ...]) -> None:
    present = list(names) if isinstance(names, (list, tuple, dict)) else []
    if not set(needed) <= set(present):
        raise MissingColumns(", ".join(map(str, present)) or "none")
