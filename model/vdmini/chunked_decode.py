"""Decoding a clip so many frames at a time as memory holds, and fewer when it didn't.

Legend: N frames, C latent channels, H height, W width of the latents.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor

log = logging.getLogger(__name__)

LIVE_TENSORS = 4
"""Feature maps of full size and of the second width that are alive at once at the decoder's peak, measured on an H200
at 1024x576 and at 512x320 (benchmarks/results/2026-11-26-full-size-unets.json); exact to 1 %."""

SHARE_OF_FREE = 0.8
"""The rest is left to the allocator's fragments and to libraries."""


@dataclass
class Chunks:
    """How an engine decodes.

    Args:
        most: most frames at once; as many as free memory holds by default.
        known: shape of latents -> the chunk that was found to fit.
    """

    most: int | None = None
    known: dict[tuple[int, ...], int] = field(default_factory=dict)


@contextmanager
def in_chunks(vae: Any, chunks: Chunks, between: Callable[[], None]) -> Iterator[None]:
    """Let a VAE decode in chunks for a while.

    Args:
        vae: an `AutoencoderKL` or `AutoencoderKLTemporalDecoder`, or a descendant.
        chunks: how.
        between: called between two chunks; raising in it stops the decoding.
    """
    own = vars(vae).get("decode")
    vae.decode = ChunkedDecode(vae, chunks, between)
    try:
        yield
    finally:
        del vae.decode
        if own is not None:
            vae.decode = own


class ChunkedDecode:
    """Stands in for a VAE's `decode`.

    A temporal decoder sees the frames of a chunk only, so its chunks change the clip a little; they are as large and as
    even as possible. When memory runs out a chunk is halved and tried again, and the size is kept.

    Args:
        vae: an `AutoencoderKL` or `AutoencoderKLTemporalDecoder`.
        chunks: how many frames at once; what is found to fit is noted there.
        between: called between two chunks; raising in it stops the decoding.
    """

    def __init__(self, vae: Any, chunks: Chunks, between: Callable[[], None] = lambda: None) -> None:
        self._decode: Callable[..., Any] = vae.decode
        self._vae, self._chunks, self._between = vae, chunks, between
        self._temporal = hasattr(vae.decoder, "time_conv_out")

    def __call__(
        self, z: Tensor, num_frames: int | None = None, return_dict: bool = True, **options: Any
    ) -> DecoderOutput | tuple[Tensor]:
        """Decode latents.

        Args:
            z: unscaled latents [N, C, H, W].
            num_frames: frames per clip, which a temporal decoder must be told; then N is one clip's.
            return_dict: whether to return an object rather than a tuple.
            options: passed on.

        Returns:
            Pixels [N, 3, height, width], about -1..1.

        Raises:
            torch.OutOfMemoryError: when not even a single frame fits.
        """
        if num_frames not in (None, len(z)):
            return self._decode(z, num_frames=num_frames, return_dict=return_dict, **options)
        chunk = self._chunks.known.get(tuple(z.shape)) or self.chunk_size(z)
        while True:
            try:
                pixels = self._in_chunks(z, chunk, options)
                break
            except torch.OutOfMemoryError:
                if chunk == 1:
                    raise
                chunk = even(len(z), math.ceil(chunk / 2))
                log.warning("decoding ran out of memory; trying %d frames at a time", chunk)
            _give_back(z.device)  # outside the handler, whose traceback keeps the failed chunk's tensors alive
        self._chunks.known[tuple(z.shape)] = chunk
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)

    def _in_chunks(self, z: Tensor, chunk: int, options: dict[str, Any]) -> Tensor:
        parts: list[Tensor] = []
        for part in z.split(chunk):
            if parts:
                self._between()
            told = {"num_frames": len(part)} if self._temporal else {}
            parts.append(self._decode(part, return_dict=False, **told, **options)[0])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def chunk_size(self, z: Tensor) -> int:
        """Frames to decode at once: all if memory holds them, else even parts."""
        free = free_bytes(z.device)
        fits = len(z) if free is None else max(1, int(SHARE_OF_FREE * free / self.frame_bytes(z)))
        return even(len(z), min(fits, self._chunks.most or len(z)))

    def frame_bytes(self, z: Tensor) -> int:
        """Bytes that decoding one frame needs at its peak."""
        widths = self._vae.config.block_out_channels
        scale: int = 2 ** (len(widths) - 1)
        widest: int = max(widths[:2])
        itemsize: int = self._vae.dtype.itemsize
        return LIVE_TENSORS * widest * z.shape[-1] * z.shape[-2] * scale**2 * itemsize


def even(count: int, most: int) -> int:
    """The size of the fewest parts of `count` that are no larger than `most`, as even as possible."""
    return math.ceil(count / math.ceil(count / most))


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had on a device; None where that can't be told.

    On a GPU: what is free, and what torch's allocator holds but doesn't use. On Linux: what the kernel calls available.
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(idle)
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return 1024 * kibibytes[0] if kibibytes else None


def _give_back(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
