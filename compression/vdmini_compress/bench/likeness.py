"""How alike two clips are."""

import math

import numpy as np
from numpy.typing import NDArray

EQUAL_DB = 100.0
"""What equal clips get, so that a number stays a number."""


def likeness_db(frames: NDArray[np.uint8], plain: NDArray[np.uint8]) -> float:
    """PSNR of 8-bit frames [F, H, W, 3] against others, in dB, at most `EQUAL_DB`."""
    error = float(np.square(frames.astype(np.float64) - plain).mean())
    return EQUAL_DB if error == 0 else round(min(EQUAL_DB, 10 * math.log10(255**2 / error)), 2)
