"""Captions: the sentences of the small text-to-video world and the scene each one describes."""

import hashlib
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES

SPEEDS = {"slowly": 12.0, "quickly": 32.0}
"""Pixels per second in a picture of 64 pixels."""

BACKGROUNDS: dict[str, tuple[float, float, float]] = {
    "black": (0.08, 0.08, 0.10),
    "white": (0.92, 0.92, 0.90),
    "gray": (0.50, 0.50, 0.52),
    "brown": (0.42, 0.28, 0.18),
}
HELD_OUT_SHARE = 10
"""One caption in this many is never seen in training."""


@dataclass(frozen=True)
class Scene:
    """What one caption says."""

    colour: str
    shape: str
    direction: str
    speed: str
    background: str

    @property
    def caption(self) -> str:
        """The sentence that the model is given."""
        return f"a {self.colour} {self.shape} moving {self.direction} {self.speed} on a {self.background} background"


def all_scenes() -> list[Scene]:
    """Every scene that the world's words can describe, in a fixed order."""
    return [Scene(*words) for words in itertools.product(COLOURS, SHAPES, DIRECTIONS, SPEEDS, BACKGROUNDS)]


def is_held_out(scene: Scene) -> bool:
    """Whether a scene is kept from training; decided by the caption's hash, so it never depends on an order."""
    return hashlib.sha256(scene.caption.encode()).digest()[0] % HELD_OUT_SHARE == 0


def background(name: str, size: int) -> Tensor:
    """The backdrop [3, size, size] of that name, float32 in 0..1: lit from above."""
    light = torch.linspace(1.08, 0.86, size)[None, :, None]
    colour = torch.tensor(BACKGROUNDS[name])[:, None, None]
    return (colour * light).clamp(0, 1).expand(3, size, size)
