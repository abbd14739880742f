"""How the process gives memory back. What takes much of it, pictures, is left to `api.picture`."""

import ctypes

MMAP_THRESHOLD = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""
MMAP_BYTES = 65_536


def give_back_large_blocks() -> None:
    """Have the C library map large blocks each by itself, so that they go back to the system when they are freed.

    glibc raises this threshold once a large block was freed, and each thread then keeps what its largest picture took:
    uploads of 40 million pixels left the API at 250 MB for good. Other C libraries have no such switch and need none.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, MMAP_BYTES)
