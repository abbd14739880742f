"""How many frames a VAE decodes or encodes at a time in a job: its memory grows with their pixels, its speed doesn't.

A job needs the same chunks on every machine, whose results could differ otherwise. An engine that serves takes as many
frames as free memory holds: `vdmini.chunked_decode`.

At 1024x576 Stable Video Diffusion's decoder takes 16.9 GB beside its weights for 14 frames in bfloat16 and 1.4 GB for
one, in the same time (`benchmarks/results/2026-11-26-full-size-unets.json`). It imports neither torch nor diffusers.
"""

PIXELS_AT_ONCE = 8 * 1024 * 576
"""Eight frames of 1024x576, the usual chunk of Stable Video Diffusion: its temporal convolutions see three frames, so
the fewer borders between chunks, the better. Small clips are decoded whole."""


def frames_at_once(width: int, height: int) -> int:
    """Frames of a chunk, at least one.

    Args:
        width: of a frame in pixels.
        height: in pixels.
    """
    return max(1, PIXELS_AT_ONCE // (width * height))
