"""Frames to MP4 and back to nothing half-written.

Legend: F frames, H height, W width, 3 colour channels.
"""

import os
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

CRF = 16
"""Constant rate factor of libx264; at 64 pixels lower quality visibly smears a sprite."""
LARGE_PIXELS = 1_000_000
"""Of all frames together; from here on a compressed model is faster than libx264's preset `medium` on one core."""
SMALL_EFFORT = ("medium", 1)
LARGE_EFFORT = ("veryfast", 4)
"""Preset and threads. As large and about as good for two fifths of the cores (`benchmarks/mp4.py`); a fixed number of
threads writes the same bytes on any machine."""


SMALL_SIDE = 256
"""Clips whose shorter side is smaller are enlarged for people, so that they see its pixels."""


def enlarged(frames_FHW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small clip with every pixel repeated until its shorter side is about `SMALL_SIDE`; a large one as it is."""
    times = max(1, SMALL_SIDE // min(frames_FHW3.shape[1:3]))
    return frames_FHW3.repeat(times, axis=1).repeat(times, axis=2)


def write_mp4(frames_FHW3: NDArray[np.uint8], path: Path, *, fps: int, comment: str = "") -> None:
    """Write H.264 in yuv420p with the index in front, at exactly the frames' size.

    Args:
        frames_FHW3: RGB frames, uint8; H and W even, as yuv420p needs.
        path: where the file appears once it is whole.
        fps: frames per second.
        comment: put into the file's metadata.

    Raises:
        ValueError: when the frames' shape or type is not the one above.
        OSError: when ffmpeg cannot write (a full disk, say); nothing is left behind.
    """
    if frames_FHW3.dtype != np.uint8 or frames_FHW3.ndim != 4 or frames_FHW3.shape[-1] != 3:
        raise ValueError(f"frames are {frames_FHW3.dtype} {frames_FHW3.shape}; give uint8 [F, H, W, 3]")
    count, height, width, _ = frames_FHW3.shape
    if count < 1 or height % 2 or width % 2:
        raise ValueError(f"{count} frames of {width}x{height}; give at least one frame of even width and height")
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".mp4", dir=path.parent)
    os.close(handle)
    try:
        preset, threads = LARGE_EFFORT if count * height * width >= LARGE_PIXELS else SMALL_EFFORT
        encode(frames_FHW3, Path(partial), fps=fps, comment=comment, preset=preset, threads=threads)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def encode(frames_FHW3: NDArray[np.uint8], path: Path, *, fps: int, comment: str, preset: str, threads: int) -> None:
    """Write frames that were checked straight to a file; `write_mp4` is what to call.

    Raises:
        OSError: when ffmpeg cannot write.
    """
    _, height, width, _ = frames_FHW3.shape
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=fps,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=1,
        quality=None,
        ffmpeg_log_level="error",
        output_params=["-crf", str(CRF), "-preset", preset, "-movflags", "+faststart", "-threads", str(threads)]
        + (["-metadata", f"comment={comment}"] if comment else []),
    )
    try:
        writer.send(None)
        for frame in frames_FHW3:
            writer.send(np.ascontiguousarray(frame))
    finally:
        writer.close()
    if path.stat().st_size == 0:
        raise OSError(f"ffmpeg wrote nothing to {path}; is the disk full?")
