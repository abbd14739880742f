"""Pictures, the Prefer header, samples and metric cells: the parts that need no running service."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from vdmini_serve.api.picture import prepare
from vdmini_serve.api.prefer import wait_seconds
from vdmini_serve.contract import metrics, samples
from vdmini_serve.contract.problem import ProblemError, ProblemKind


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(upload: bytes, **options: int) -> Image.Image:
    sizes = {"width": 64, "height": 64, "max_pixels": 10**6, **options}
    with Image.open(io.BytesIO(prepare(upload, **sizes))) as image:
        image.load()
        return image


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_the_middle_of_a_wide_picture_is_kept():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    colours = opened(encoded(wide, "PNG")).getcolors()
    assert max(colours)[1] == (0, 0, 255)
    assert opened(encoded(wide, "PNG")).getpixel((32, 32)) == (0, 0, 255)


def test_orientation_is_applied_and_metadata_dropped():
    image = Image.new("RGB", (64, 64), "red")
    image.paste("blue", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    exif[0x010E] = "a private remark"
    result = opened(encoded(image, "JPEG", exif=exif, quality=95))
    assert result.getpixel((32, 60))[2] > 200
    assert not result.getexif()
    assert result.info == {}


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_every_colour_mode_becomes_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert opened(encoded(Image.new("RGB", (80, 80), "gray").convert(mode), kind)).mode == "RGB"


def test_greys_of_16_bits_keep_their_brightness():
    result = opened(encoded(Image.new("I;16", (64, 64), 32768), "PNG"))
    assert abs(result.getpixel((5, 5))[0] - 127) <= 1


def test_transparency_lies_over_white():
    assert opened(encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_webp_is_accepted():
    assert opened(encoded(Image.new("RGB", (70, 70), "red"), "WEBP", lossless=True)).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(30_000, 30_000), (1001, 1000)])
def test_too_many_pixels_are_refused_from_the_header_alone(size):
    with pytest.raises(ProblemError) as caught:
        prepare(png_header(*size) + b"\0\1\0\0IDAT", width=64, height=64, max_pixels=10**6)
    assert caught.value.problem.kind == ProblemKind.IMAGE_TOO_LARGE


@pytest.mark.parametrize(
    "upload",
    [
        b"",
        b"just text",
        b"GIF89a" + b"\0" * 50,
        b"RIFF\x04\0\0\0WAVE",
        b"\xff\xd8\xff\xe0broken",
        png_header(8, 8),
        b"%!PS-Adobe-3.0 EPSF",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_whole_picture_is_refused(upload):
    with pytest.raises(ProblemError) as caught:
        prepare(upload, width=64, height=64, max_pixels=10**6)
    assert caught.value.problem.kind == ProblemKind.UNSUPPORTED_IMAGE


def test_a_truncated_picture_is_refused():
    whole = encoded(Image.effect_noise((90, 90), 90).convert("RGB"), "PNG")
    with pytest.raises(ProblemError, match="damaged"):
        prepare(whole[: len(whole) // 2], width=64, height=64, max_pixels=10**6)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (60, None)),
        ("respond-async", (0, "respond-async")),
        ("wait=5", (5, "wait=5")),
        ('respond-async, wait="7"; x=y', (7, "wait=7")),
        ("WAIT=900", (100, "wait=100")),
        ("wait=-1", (60, None)),
        ("wait=nan, something=else", (60, None)),
        ("wait=" + "9" * 5000, (60, None)),
    ],
)
def test_preferences_are_read_or_ignored(header, expected):
    assert wait_seconds(header, default=60, most=100) == expected


def test_an_observation_lands_in_the_first_bucket_that_holds_it():
    labels = ("t2v", "vdmini", "64x64x8", "4")
    on_the_bound, above = (metrics.observe(metrics.JOB_LATENCY, labels, value) for value in (0.5, 9999.0))
    assert metrics.parse_cell(on_the_bound[0][0])[2] == str(metrics.LATENCY_BUCKETS.index(0.5))
    assert metrics.parse_cell(above[0][0])[2] == str(len(metrics.LATENCY_BUCKETS))


def test_no_metric_has_a_label_for_prompts_users_or_jobs():
    for family in metrics.FAMILIES:
        assert not {"prompt", "user", "job", "job_id", "key"} & set(family.labels)
        assert family.buckets == tuple(sorted(family.buckets))


def test_a_timing_is_the_median_with_its_count_and_newest_time():
    entries = [samples.encode_sample(seconds, at) for seconds, at in [(1, 10), (9, 30), (2, 20)]]
    assert samples.timing(entries) == samples.Timing(2, 3, 30)
    assert samples.timing([]) is None


def test_the_api_starts_without_torch_and_without_the_model_package():
    code = (
        "import sys; from vdmini_serve.api.app import create_app; from vdmini_serve.contract.settings import Settings;"
        "create_app(Settings()).openapi(); assert not {'torch', 'vdmini', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_large_pictures_are_decoded_one_after_the_other_and_shrunk_before_they_are_flattened():
    """Four uploads of 155 kB that unpack to 160 MB each; side by side, each flattened whole, they took 3.9 GB."""
    measure = """
import io, re
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from vdmini_serve.api.allocator import give_back_large_blocks
from vdmini_serve.api.picture import prepare

give_back_large_blocks()
buffer = io.BytesIO()
Image.new("RGBA", (8000, 5000)).save(buffer, "PNG")
with ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda _: prepare(buffer.getvalue(), width=64, height=64, max_pixels=40_000_000), range(4)))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())  # rusage would count the parent's, too
print(int(peak[1]) // 1024)
"""
    found = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 700  # megabytes
