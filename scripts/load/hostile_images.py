"""Image files that a service meets when somebody means harm, or when a program is broken."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk with the right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """The header chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def good() -> dict[str, bytes]:
    """Files that are all right, to be damaged."""
    grey = Image.radial_gradient("L").resize((96, 64))
    colour = Image.merge("RGB", (grey, grey.rotate(180), grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    return {kind: saved(colour, kind) for kind in ("PNG", "JPEG", "WEBP")}


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that want to be large pictures or texts."""
    zeros = zlib.compress(b"\0" * 40_000_000, 9)
    yield "a header of 30000x30000", PNG + header(30_000, 30_000) + chunk(b"IDAT", zeros[:64])
    yield "a header of 2^31 pixels a side", PNG + header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b"")
    yield "no pixels at all", PNG + header(0, 0) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    yield "40 megabytes for an 8x8 picture", PNG + header(8, 8) + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    yield "the largest size that is allowed, in alpha", saved(Image.new("RGBA", (8000, 5000)), "PNG")
    yield "one line of 40000 pixels", saved(Image.new("RGB", (40_000, 1)), "PNG")
    yield "one column of 40000 pixels", saved(Image.new("L", (1, 40_000)), "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zeros)
    yield "a text that unpacks to 40 megabytes", PNG + header(1, 1) + text + chunk(b"IDAT", zlib.compress(b"\0" * 4))
    profile = chunk(b"iCCP", b"x\0\0" + zeros)
    yield (
        "a profile that unpacks to 40 megabytes",
        PNG + header(1, 1) + profile + chunk(b"IDAT", zlib.compress(b"\0" * 4)),
    )


def oddities() -> Iterator[tuple[str, bytes]]:
    """Files that are odd rather than wrong, and files of other kinds."""
    small = Image.new("RGB", (16, 16), "red")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        yield f"mode {mode}", saved(Image.new(mode, (16, 16)), "PNG")
    yield "CMYK", saved(Image.new("CMYK", (16, 16)), "JPEG")
    for orientation in (0, 3, 8, 9, 65535):
        exif = Image.Exif()
        exif[274] = orientation
        yield f"orientation {orientation}", saved(small, "JPEG", exif=exif)
    yield "EXIF that is noise", saved(small, "JPEG", exif=b"Exif\0\0" + bytes(range(256)))
    yield "EXIF that points outside", saved(small, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xf0")
    yield "a profile that is noise", saved(small, "PNG", icc_profile=b"\xff" * 5000)
    yield "an animation", saved(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16))] * 30)
    yield "an animated PNG", saved(small, "PNG", save_all=True, append_images=[Image.new("RGB", (16, 16))] * 30)
    yield "PNG's first bytes before a JPEG", PNG + saved(small, "JPEG")
    yield "only first bytes", PNG
    yield "RIFF that is no picture", b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\0" * 64
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO", "PDF"):
        yield kind, saved(small, kind)
    yield "SVG", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "HTML", b"<script>alert(1)</script>"
    yield "nothing", b""
    yield "zeros", b"\0" * 1000


def damaged(dice: random.Random) -> tuple[str, bytes]:
    """A good file with bytes changed, cut out, doubled or cut off."""
    kind, content = dice.choice(sorted(good().items()))
    broken = bytearray(content)
    at = dice.randrange(len(broken))
    match dice.randrange(4):
        case 0:
            for _ in range(dice.randint(1, 8)):
                broken[dice.randrange(len(broken))] = dice.randrange(256)
        case 1:
            del broken[at:]
        case 2:
            del broken[at : at + dice.randint(1, 50)]
        case _:
            broken[at:at] = broken[at : at + dice.randint(1, 50)]
    return f"a damaged {kind}", bytes(broken)
