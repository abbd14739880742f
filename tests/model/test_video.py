"""Frames survive the way into an MP4 and back; nothing half-written is left."""

from pathlib import Path

import av
import numpy as np
import pytest

from vdmini.video import write_mp4


def smooth_frames(count: int = 9, height: int = 50, width: int = 70) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    red = np.stack([(x * 2 + 5 * index) % 256 for index in range(count)])
    green = np.broadcast_to(y * 4, red.shape)
    blue = np.full_like(red, 90)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def test_size_count_rate_and_pixels_come_back(tmp_path: Path) -> None:
    frames = smooth_frames()
    path = tmp_path / "clip.mp4"
    write_mp4(frames, path, fps=7)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 7
    assert decoded.shape == frames.shape
    error = np.mean((decoded[:, 2:-2, 2:-2].astype(float) - frames[:, 2:-2, 2:-2]) ** 2)
    assert 10 * np.log10(255**2 / error) > 25


def test_the_index_stands_in_front_so_that_players_start_at_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(smooth_frames(), path, fps=7)
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_same_frames_make_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_mp4(smooth_frames(), first, fps=7)
    write_mp4(smooth_frames(), second, fps=7)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "give uint8"),
        (np.zeros((2, 8, 8), np.uint8), "give uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one frame"),
        (np.zeros((2, 7, 8, 3), np.uint8), "even width and height"),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path: Path, frames: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_mp4(frames, tmp_path / "clip.mp4", fps=7)
    assert list(tmp_path.iterdir()) == []


# imageio-ffmpeg leaves the dead encoder's pipe to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_encoder_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(OSError, match=r"Broken pipe|ffmpeg"):
        write_mp4(smooth_frames(60, 256, 256), tmp_path / "clip.mp4", fps=7)
    assert list(tmp_path.iterdir()) == []
