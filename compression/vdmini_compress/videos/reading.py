"""Reads one clip of one film: seeks, decodes what is needed, resamples in time, scales and crops.

Legend: F frames, H height, W width, 3 colour channels.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor

from vdmini_compress.videos.films import Film
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.videos.skips import UnusableVideo

TICK_SECONDS = 1e-3
"""How much too late a frame may come: Matroska rounds its times to a millisecond."""

STEPS_BACK_SECONDS = (0.0, 1.0, 10.0)
"""Where to seek to, before the wanted time, until decoding starts early enough; after these, the file's start.

Where an index tells when key frames are decoded, the one that is found may be shown too late already; MPEG-TS has no
index at all.
"""

SLOWEST = 0.9
"""Least frame rate of a film, as a share of the wanted one; below it frames repeat so often that motion stutters."""


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of a film.

    Args:
        frames_F3HW: float32 in 0..1.
        start_seconds: time of the first one, in seconds of playing time from the file's first frame.
    """

    frames_F3HW: Tensor
    start_seconds: float


def read_clip(film: Film, form: ClipForm, generator: torch.Generator) -> Clip:
    """Read a clip that starts anywhere in a film.

    Frame k is the one that a player shows k / fps seconds after the start, by the file's own timestamps. It is turned
    as its metadata says, scaled to fill width x height (bicubic, antialiased) and cropped in the middle: an upright
    video loses its top and bottom. Sound is never touched.

    Args:
        film: what to read.
        form: number, rate and size of the frames.
        generator: draws the start, uniformly, one number per call whatever the film is.

    Returns:
        The clip.

    Raises:
        UnusableVideo: when no such clip can be had; nothing else is raised for a bad file.
    """
    share = torch.rand((), generator=generator).item()
    try:
        # A playlist that calls itself a video must not make us open what it lists on a network.
        options = {"protocol_whitelist": "file"}
        with av.open(str(film.path), metadata_errors="ignore", options=options) as container:
            return _read(container, film, form, share)
    except av.FFmpegError as error:
        raise UnusableVideo("broken", f"{film.path}: {error.strerror or error}") from error


def _read(container: InputContainer, film: Film, form: ClipForm, share: float) -> Clip:
    stream = _picture_stream(container)
    if stream.average_rate is not None and stream.average_rate < SLOWEST * form.fps:
        raise UnusableVideo("too few frames a second", f"{float(stream.average_rate):.2f}, and {form.fps} are wanted")
    origin = _seconds(stream.start_time or 0, stream)
    low, high = _stretch(container, stream, film)
    room = high - low - form.num_frames / form.fps
    if room < -TICK_SECONDS:
        raise UnusableVideo("too short", f"{high - low:.2f} s, and a clip takes {form.num_frames / form.fps:.2f} s")
    start = low + share * max(0.0, room)
    times = [origin + start + index / form.fps for index in range(form.num_frames)]
    aspect = float(stream.sample_aspect_ratio or 1)
    pictures = [_picture(frame, aspect, form) for frame in _shown_at(container, stream, times)]
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return Clip(frames.contiguous().float() / 255, start)


def _picture_stream(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise UnusableVideo("no video stream", "the file holds other streams only")
    if stream.codec_context is None:
        raise UnusableVideo("broken", "its codec is unknown")
    stream.codec_context.thread_count = 1  # files are read side by side already
    return stream


def _seconds(ticks: int, stream: VideoStream) -> float:
    if stream.time_base is None:
        raise UnusableVideo("broken", "its times have no unit")
    return float(ticks * stream.time_base)


def _stretch(container: InputContainer, stream: VideoStream, film: Film) -> tuple[float, float]:
    """From when to when the film goes, in seconds from the file's first frame."""
    if stream.duration is not None:
        length = _seconds(stream.duration, stream)
    elif container.duration is not None:
        length = container.duration / av.time_base
    else:
        raise UnusableVideo("unknown length", "neither the file nor its stream tells it")
    return film.start_seconds, min(length, film.end_seconds or length)


def _shown_at(container: InputContainer, stream: VideoStream, times: list[float]) -> Iterator[VideoFrame]:
    """The frame that is on the screen at each of some rising times."""
    frames = _decoded_from(container, stream, times[0])
    waiting, shown = list(reversed(times)), next(frames)
    for frame in frames:
        while waiting and _time(frame) > waiting[-1] + TICK_SECONDS:
            waiting.pop()
            yield shown
        if not waiting:
            return
        shown = frame
    lasts = max(_seconds(shown.duration or 0, stream), float(1 / stream.average_rate) if stream.average_rate else 0)
    while waiting and waiting[-1] < _time(shown) + lasts + TICK_SECONDS:
        waiting.pop()
        yield shown
    if waiting:
        raise UnusableVideo("broken", f"it ends {waiting[0] - _time(shown):.2f} s before its header says")


def _decoded_from(container: InputContainer, stream: VideoStream, seconds: float) -> Iterator[VideoFrame]:
    """Frames from the last key frame on that lets decoding reach a time; the first of them isn't later."""
    start = stream.start_time or 0
    unit = _seconds(1, stream)
    targets = [max(start, int((seconds - back) / unit)) for back in STEPS_BACK_SECONDS]
    for target in (*targets, start):
        container.seek(target, stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and (_time(first) <= seconds + TICK_SECONDS or target == start):
            return itertools.chain([first], frames)
    raise UnusableVideo("broken", "no frame of it can be decoded")


def _time(frame: VideoFrame) -> float:
    if frame.time is None:
        raise UnusableVideo("broken", "a frame of it has no time")
    return frame.time


def _picture(frame: VideoFrame, aspect: float, form: ClipForm) -> NDArray[np.uint8]:
    """One frame as uint8 [H, W, 3], upright and of the form's size; `aspect` is a pixel's width over its height."""
    if frame.is_corrupt:
        raise UnusableVideo("broken", "a frame of it is damaged")
    quarters = round(frame.rotation / 90)
    turned = quarters % 2 == 1
    across = frame.width * aspect
    wide, high = (frame.height, across) if turned else (across, frame.height)
    scale = max(form.width / wide, form.height / high)
    if scale > form.max_enlargement:
        raise UnusableVideo("too small", f"{wide:.0f}x{high:.0f}, and {form.width}x{form.height} is wanted")
    size = max(form.width, round(wide * scale)), max(form.height, round(high * scale))
    width, height = reversed(size) if turned else size
    scaled = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    left, top = (size[0] - form.width) // 2, (size[1] - form.height) // 2
    pixels = np.rot90(scaled.astype(np.uint8, copy=False), quarters)
    return pixels[top : top + form.height, left : left + form.width]
