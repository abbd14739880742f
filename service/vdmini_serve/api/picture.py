"""Making a safe picture out of an upload. Which size it must have is left to `api.admission`."""

import io
import threading
import warnings
from contextlib import nullcontext

from PIL import Image, ImageOps

from vdmini_serve.contract.problem import ProblemError, ProblemKind

FORMATS = ("PNG", "JPEG", "WEBP")
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WEBP"}
DEEP_MODES = {"I;16": 257, "I;16L": 257, "I;16B": 257, "I": 257}
"""Greys of 16 bits, and what divides them to 8 bits; Pillow's own conversion would clip them to white."""
SHRINKABLE_MODES = ("L", "LA", "RGB", "RGBA")
"""Modes that Pillow resizes well, weighing colours by their alpha."""
LARGE_PIXELS = 4_000_000
_ONE_LARGE = threading.Lock()
"""A few kilobytes can unpack to 160 MB of pixels: large uploads are decoded one after the other in a process."""


def prepare(upload: bytes, *, width: int, height: int, max_pixels: int) -> bytes:
    """Decode an upload and crop it around the centre to width x height.

    The size is read from the header before anything is decoded. Orientation is applied, metadata dropped, transparency
    laid over white; of an animation, the first frame counts.

    Args:
        upload: the file's bytes.
        width: of the result in pixels.
        height: of the result in pixels.
        max_pixels: largest width x height of the upload.

    Returns:
        PNG bytes, RGB.

    Raises:
        ProblemError: when it is no PNG, JPEG or WebP, is damaged, or has too many pixels.
    """
    kind = next((name for magic, name in SIGNATURES.items() if upload.startswith(magic)), None)
    if kind is None:
        detail = f"image is no {', '.join(FORMATS)} file: it starts with {upload[:8].hex(' ') or 'nothing'}"
        raise ProblemError(ProblemKind.UNSUPPORTED_IMAGE, detail + "; send one of these formats")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and about sizes that are checked below
            return _decode(upload, kind, width, height, max_pixels)
    except Image.DecompressionBombError:
        raise ProblemError(ProblemKind.IMAGE_TOO_LARGE, _too_many("too many", max_pixels)) from None
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, ArithmeticError) as error:
        # what Pillow's decoders raise on damaged files
        detail = f"image is a damaged {kind} file ({type(error).__name__}); save it again and send that"
        raise ProblemError(ProblemKind.UNSUPPORTED_IMAGE, detail) from error


def _decode(upload: bytes, kind: str, width: int, height: int, max_pixels: int) -> bytes:
    with Image.open(io.BytesIO(upload), formats=(kind,)) as opened:
        if opened.width * opened.height > max_pixels:
            raise ProblemError(ProblemKind.IMAGE_TOO_LARGE, _too_many(f"{opened.width}x{opened.height}", max_pixels))
        if kind == "JPEG":
            opened.draft("RGB", (width * 2, height * 2))
        with _ONE_LARGE if opened.width * opened.height > LARGE_PIXELS else nullcontext():
            fitted = _fit(opened, width, height)
            opened.close()  # frees the pixels before the next one begins
    clean = Image.new("RGB", fitted.size)
    clean.paste(fitted)
    buffer = io.BytesIO()
    clean.save(buffer, "PNG")
    return buffer.getvalue()


def _fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Shrink first where the mode allows it, so that few copies are as large as the upload."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode not in SHRINKABLE_MODES or "transparency" in image.info:
        image = _flatten(image)
    return _flatten(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in DEEP_MODES:
        divisor = DEEP_MODES[image.mode]
        image = image.convert("I").point(lambda value: value * (1 / divisor)).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _too_many(got: str, max_pixels: int) -> str:
    return f"image has {got} pixels; at most {max_pixels} (width x height) are allowed. Scale it down first"
