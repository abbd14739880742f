"""Makes the moving picture of the README: clips of teacher and student in sync, from a service that runs.

vdmini-serve up, then `python scripts/moving_picture.py --url http://127.0.0.1:8000`.
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import av
import httpx
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "service/vdmini_serve/page/samples"
FPS = 8
HELD_FRAMES = 4
"""How long the last frame stays before all begins again."""

EDGE, GAP, MARGIN, LABELS, CAPTION = 132, 12, 20, 104, 52
GROUND, TEXT, MUTED = "#ffffff", "#1b1d1f", "#565b61"
ROWS = (("teacher", "Teacher", "uncompressed", "#87560a"), ("vdmini", "VDMini", "compressed", "#0b6e5f"))


@dataclass(frozen=True)
class Scene:
    """One column.

    Args:
        caption: what stands below it.
        fields: of the request.
        picture: file of the first frame, for image-to-video.
    """

    caption: str
    fields: dict[str, object]
    picture: Path | None = None

    def clip(self, client: httpx.Client, variant: str) -> list[Image.Image]:
        """The frames that a model makes of it."""
        fields = {**self.fields, "fps": FPS, "seed": 7, "variant": variant}
        if self.picture is None:
            answer = client.post("/v1/t2v", json=fields)
        else:
            answer = client.post("/v1/i2v", data=fields, files={"image": self.picture.read_bytes()})
        answer.raise_for_status()
        with av.open(io.BytesIO(answer.content)) as video:
            return [frame.to_image() for frame in video.decode(video=0)]


def _sentence(text: str) -> Scene:
    return Scene(f"“{text}”", {"prompt": text})


def _picture(name: str, caption: str, motion_bucket_id: int = 180) -> Scene:
    return Scene(caption, {"motion_bucket_id": motion_bucket_id}, SAMPLES / name)


SCENES = (
    _picture("rocket.jpg", "a photo: the camera pushes in", 127),
    _picture("triangle.png", "a picture: it goes where its eye looks"),
    _picture("cross.png", "and another one"),
    _sentence("a red circle moving right quickly on a gray background"),
    _sentence("a blue square moving up quickly on a white background"),
    _sentence("a magenta triangle moving down right quickly on a brown background"),
)


def _canvas() -> Image.Image:
    """All that doesn't move."""
    width = 2 * MARGIN + LABELS + len(SCENES) * (EDGE + GAP) - GAP
    image = Image.new("RGB", (width, 2 * MARGIN + 2 * EDGE + GAP + CAPTION), GROUND)
    draw = ImageDraw.Draw(image)
    for row, (_, name, kind, colour) in enumerate(ROWS):
        y = MARGIN + row * (EDGE + GAP) + EDGE // 2
        draw.text((MARGIN, y - 18), name, fill=colour, font=ImageFont.load_default(19))
        draw.text((MARGIN, y + 6), kind, fill=MUTED, font=ImageFont.load_default(13))
    for column, scene in enumerate(SCENES):
        x, y = _corner(len(ROWS), column)
        draw.multiline_text((x, y - 4), fill(scene.caption, 21), fill=TEXT, font=ImageFont.load_default(12), spacing=2)
    return image


def _corner(row: int, column: int) -> tuple[int, int]:
    return MARGIN + LABELS + column * (EDGE + GAP), MARGIN + row * (EDGE + GAP)


def _frames(clips: list[list[list[Image.Image]]]) -> Iterator[Image.Image]:
    """The picture at each moment; `clips` are rows of columns of frames."""
    canvas = _canvas()
    for moment in range(min(len(frames) for row in clips for frames in row)):
        image = canvas.copy()
        for row, columns in enumerate(clips):
            for column, frames in enumerate(columns):
                enlarged = frames[moment].resize((EDGE, EDGE), Image.Resampling.LANCZOS)
                image.paste(enlarged, _corner(row, column))
        yield image


def main() -> None:
    """Ask for the clips and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the service; it needs the small models")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/teacher-and-student.webp")
    options = parser.parse_args()
    with httpx.Client(base_url=options.url, timeout=600, trust_env=False) as client:
        clips = [[scene.clip(client, variant) for scene in SCENES] for variant, *_ in ROWS]
    frames = list(_frames(clips))
    milliseconds = 1000 // FPS
    durations = [milliseconds] * (len(frames) - 1) + [milliseconds * HELD_FRAMES]
    frames[0].save(
        options.output, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=90, method=6
    )
    print(f"wrote {options.output}: {options.output.stat().st_size / 1000:.0f} kB, {len(frames)} frames")


if __name__ == "__main__":
    main()
