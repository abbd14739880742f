"""What writing a clip costs with libx264's presets: seconds, seconds of cores, bytes, and what is lost.

python benchmarks/mp4.py [--rounds 5] --output FILE.json

The clips push into a photograph with a little noise, which a model's clips have too. Rounds take turns.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from provenance import provenance
from skimage import data, transform

from vdmini import video

SIZES = ((8, 64, 64), (16, 320, 512), (14, 576, 1024))
PRESETS = ("medium", "veryfast", "superfast", "ultrafast")
THREADS = (1, 4)


def main(options: argparse.Namespace) -> None:
    """Run it and write the record."""
    found = [_size(clip_FHW3, options.rounds) for clip_FHW3 in map(push, SIZES)]
    command = f"python benchmarks/mp4.py --rounds {options.rounds} --output {options.output}"
    record = provenance(command) | {"crf": video.CRF, "rounds": options.rounds, "clips": found}
    options.output.write_text(json.dumps(record, indent=2) + "\n")


def push(size: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A camera that pushes into a photograph, uint8 [F, H, W, 3]."""
    frames, height, width = size
    photo, dice = data.astronaut(), np.random.default_rng(0)
    clip = []
    for number in range(frames):
        across = int(photo.shape[1] * (1 - 0.12 * number / frames))
        down = across * height // width
        top, left = (photo.shape[0] - down) // 2, (photo.shape[1] - across) // 2
        view = transform.resize(photo[top : top + down, left : left + across], (height, width))
        clip.append(np.clip(view * 255 + dice.normal(0, 2, view.shape), 0, 255).astype(np.uint8))
    return np.stack(clip)


def _size(clip_FHW3: NDArray[np.uint8], rounds: int) -> dict[str, Any]:
    choices = [(preset, threads) for preset in PRESETS for threads in THREADS]
    runs: dict[tuple[str, int], list[dict[str, float]]] = {choice: [] for choice in choices}
    for _ in range(rounds):
        for choice in choices:
            runs[choice].append(write(clip_FHW3, *choice))
    rows = [
        {"preset": preset, "threads": threads}
        | {
            name: round(statistics.median(run[name] for run in runs[preset, threads]), 4)
            for name in runs[preset, threads][0]
        }
        for preset, threads in choices
    ]
    return {"frames": clip_FHW3.shape[0], "height": clip_FHW3.shape[1], "width": clip_FHW3.shape[2], "choices": rows}


def write(clip_FHW3: NDArray[np.uint8], preset: str, threads: int) -> dict[str, float]:
    """Write it once."""
    with tempfile.TemporaryDirectory() as folder:
        path, before, began = Path(folder) / "clip.mp4", os.times(), time.perf_counter()
        video.encode(clip_FHW3, path, fps=7, comment="", preset=preset, threads=threads)
        seconds, after = time.perf_counter() - began, os.times()
        with av.open(str(path)) as container:
            read_FHW3 = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        size_bytes = path.stat().st_size
    error = float(((read_FHW3.astype(float) - clip_FHW3) ** 2).mean())
    cores = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": seconds,
        "core_seconds": cores,
        "bytes": float(size_bytes),
        "psnr_db": 10 * float(np.log10(255**2 / error)),
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    found.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return found


if __name__ == "__main__":
    main(parser().parse_args())
