"""A still of a clip, for lists and players that show one before they load the MP4.

The worker writes it because it has the frames: the API would need a decoder, a hundred megabytes more in its image.

Legend: H height, W width, 3 colour channels.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONG_SIDE = 512
"""Most pixels of the longer side; smaller clips keep their size."""
QUALITY = 80


def write_thumbnail(frame_HW3: NDArray[np.uint8], path: Path) -> None:
    """Write a frame as WebP.

    Args:
        frame_HW3: RGB, uint8.
        path: where the file appears once it is whole.

    Raises:
        OSError: when it cannot be written; nothing is left behind.
    """
    image = Image.fromarray(frame_HW3)
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, "WEBP", quality=QUALITY)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
