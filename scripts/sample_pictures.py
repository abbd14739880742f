"""Draws the playground's sample pictures: sprites of the small world, and two photographs that scikit-image ships.

The photographs are free of rights: the cat is CC0 (Stéfan van der Walt), the rocket on its launch pad CC0 (SpaceX).
No small model was trained on either.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from vdmini_compress.world import pictures, shapes

FOLDER = Path(__file__).resolve().parent.parent / "service/vdmini_serve/page/samples"
SPRITES = {
    "circle": ("red", "right", (20.0, 32.0)),
    "triangle": ("yellow", "down", (32.0, 20.0)),
    "cross": ("cyan", "up left", (44.0, 44.0)),
}
PHOTOS = {"cat": ("chelsea", (60, 0, 360, 300)), "rocket": ("rocket", (106, 0, 533, 427))}
"""Name of the picture and the square that is cut out: left, upper, right, lower."""
EDGE = 256


def sprite(shape: str, colour: str, heading: str, centre: tuple[float, float], seed: int) -> Image.Image:
    """A first frame of the small world; the eye shows where the sprite is heading."""
    drawn = shapes.Sprites(
        shape_B=torch.tensor([shapes.SHAPES.index(shape)]),
        colour_B=torch.tensor([list(shapes.COLOURS).index(colour)]),
        heading_B=torch.tensor([shapes.DIRECTIONS.index(heading)]),
        radius_B=torch.tensor([9.0]),
        centre_BF2=torch.tensor([[centre]]),
    )
    ground = pictures.procedural(1, shapes.SIZE, torch.Generator().manual_seed(seed))[:, None]
    frame = shapes.paint(ground, drawn, eye=True)[0, 0]
    return Image.fromarray((frame.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for seed, (shape, (colour, heading, centre)) in enumerate(SPRITES.items()):
        sprite(shape, colour, heading, centre, seed).save(FOLDER / f"{shape}.png", optimize=True)
    for name, (source, box) in PHOTOS.items():
        photo = Image.fromarray(getattr(data, source)()).crop(box).resize((EDGE, EDGE), Image.Resampling.LANCZOS)
        photo.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
