"""Generated clips as MP4 files in a folder, each made once.

Legend: F frames, H height, W width, 3 colour channels.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vdmini.engine import Engine
from vdmini.video import write_mp4
from vdmini_compress.evaluate import settings_of

MADE_BY = "made-by.json"
VIDEOS = "videos"

LONGEST_NAME = 255 - len(".mp4") - len("..12345678.mp4")
"""Bytes of a clip's name: file systems allow 255, and a file is written under a longer name first."""


class ClipFolder:
    """`FOLDER/videos/NAME.mp4`, made by one model with one seed; what is there isn't made again.

    `videos` holds nothing but clips, since VBench takes the suffix of any file in it for that of all.

    Args:
        folder: made when it isn't there.
        engine: makes the clips.
        suite: what they are for.
        seed: all clips' noise follows from it and their names.
        settings: arguments of `Engine.generate` that all clips share; defaults fill the rest.

    Raises:
        ValueError: when the folder holds clips that were made otherwise.
    """

    def __init__(self, folder: Path, engine: Engine, *, suite: str, seed: int, settings: dict[str, Any]) -> None:
        self.engine, self.seed = engine, seed
        self.settings = settings_of(engine, **settings)
        self.videos = folder / VIDEOS
        self.videos.mkdir(parents=True, exist_ok=True)
        made_by = _identity(engine, suite, seed, self.settings)
        record = folder / MADE_BY
        if record.exists() and json.loads(record.read_text()) != made_by:
            raise ValueError(
                f"{folder} holds clips of another model, suite, seed or setting, see {record}; give another"
            )
        record.write_text(json.dumps(made_by, indent=2) + "\n")

    def has(self, name: str) -> bool:
        """Whether a clip is there already."""
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return self.videos / f"{name}.mp4"

    def make(self, name: str, *, image: Image.Image | None = None, prompt: str | None = None) -> Path:
        """Generate a clip unless it is there.

        Args:
            name: of the file, without its suffix.
            image: first frame, for an image-to-video model.
            prompt: sentence, for a text-to-video model.

        Returns:
            The MP4's path.
        """
        path = self._path(name)
        if not self.has(name):
            chosen = self.settings | {"image": image, "prompt": prompt, "seed": self.seed_of(name)}
            write_mp4(self.engine.generate(**chosen).frames, path, fps=self.settings["fps"])
        return path

    def seed_of(self, name: str) -> int:
        """The noise's seed of one clip, 0..2^31 - 1: another for each name, whatever else is made."""
        return int.from_bytes(hashlib.sha256(f"{self.seed} {name}".encode()).digest()[:4]) >> 1


def _identity(engine: Engine, suite: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    manifest = engine.manifest
    files = hashlib.sha256(json.dumps(manifest.files, sort_keys=True).encode()).hexdigest()
    shared = {name: value for name, value in settings.items() if name not in {"image", "prompt", "seed"}}
    return {"suite": suite, "model": manifest.name, "files": files, "dtype": engine.dtype, "seed": seed} | shared


def check_name(name: str) -> None:
    """Refuse a name that no file can have.

    Raises:
        ValueError: when it holds a slash or a zero byte, or is too long.
    """
    if "/" in name or "\0" in name:
        raise ValueError(
            f"no file can be named {name!r}, which VBench would look for; remove the slash from the prompt"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"{name!r} has {len(name.encode())} bytes; a file's name holds {LONGEST_NAME}: shorten the prompt"
        )


def read_mp4(path: Path) -> Tensor:
    """All frames of a clip [F, 3, H, W], float32 in 0..1.

    Raises:
        ValueError: when it can't be decoded.
    """
    try:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise ValueError(f"{path} cannot be read as a video; remove it, and the same command makes it again") from error
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
