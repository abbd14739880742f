"""A still of a clip, for lists and players that show one before they load the MP4.

The worker writes it because it has the frames: the API would need a decoder, a hundred megabytes more in its image.

Legend: H height, W width, 3 colour channels.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG_SIDE = 512
"""Most pixels of the longer side; smaller clips keep their size."""
QUALITY = 80


def write_still(frame_HW3: NDArray[np.uint8], path: Path) -> None:
    """Write a frame as WebP.

    Args:
        frame_HW3: RGB, uint8.
        path: of the file.

    Raises:
        OSError: when it cannot be written.
    """
    image = Image.fromarray(frame_HW3)
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    image.save(path, "WEBP", quality=QUALITY)
