"""Where the still of a clip is. It is written by `worker.thumbnail` and handed out by `api.thumbnail`."""

from pathlib import Path

MEDIA_TYPE = "image/webp"


def thumbnail_path(mp4: Path) -> Path:
    """The still beside an MP4: they come and go together."""
    return mp4.with_suffix(".webp")
