"""A lesson that lets the small image-to-video teacher keep a shape in mind: its image encoder learns to see.

Stable Video Diffusion's U-Net is told what the first frame shows by a CLIP embedding that cross-attention carries into
every block. An encoder that was merely drawn at random tells it nothing, and a sprite that moves far forgets its
corners. So the encoder first learns to name a sprite's shape, colour and heading and to say where it is, by readouts
that are thrown away.

Legend: B pictures, 3 colour channels, H height, W width, D features.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vdmini_compress.training import Losses
from vdmini_compress.world import clips
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES, SIZE

SPRITES, CAMERAS = 24, 8
NAMED = (len(SHAPES) + 1, len(COLOURS) + 1, len(DIRECTIONS) + 1)
"""Answers to which shape, colour and heading; the last one is that there is no sprite."""

Embed = Callable[[nn.Module, Tensor], Tensor]
"""Embeds pictures [B, 3, H, W] in 0..1 with an image encoder: [B, D]."""


class Eye(nn.Module):
    """An image encoder and what reads its embeddings.

    Args:
        encoder: a CLIP vision model with projection.
        width: D.
        embed: how the encoder is used.
    """

    def __init__(self, encoder: nn.Module, width: int, embed: Embed) -> None:
        super().__init__()
        self.encoder, self.embed = encoder, embed
        self.names = nn.Linear(width, sum(NAMED))
        self.place = nn.Linear(width, 3)

    def losses(self, generator: torch.Generator, _: int) -> Losses:
        """Cross-entropies of what is named (nats); squared error of place and radius (units of 8 and 2 pixels)."""
        batch = clips.image_clips(SPRITES, CAMERAS, generator, num_frames=2)
        pictures, things = batch.frames_BF3HW[:, [0, -1]].flatten(0, 1), batch.sprites
        seen = self.embed(self.encoder, pictures)
        named = torch.stack(
            [
                F.cross_entropy(said, _answers(index_B, count))
                for said, index_B, count in zip(
                    self.names(seen).split(NAMED, dim=1),
                    (things.shape_B, things.colour_B, things.heading_B),
                    NAMED,
                    strict=True,
                )
            ]
        )
        centre = (things.centre_BF2[:, [0, -1]].flatten(0, 1) - SIZE / 2) / 8
        radius = (things.radius_B.repeat_interleave(2)[:, None] - 10) / 2
        place = F.mse_loss(self.place(seen)[: len(centre)], torch.cat([centre, radius], dim=1))
        return {"shape": named[0], "colour": named[1], "heading": named[2], "place": place}


def _answers(index_B: Tensor, count: int) -> Tensor:
    """What two pictures of each clip show: of the sprites their index, of camera clips that there is none."""
    none = torch.full((2 * CAMERAS,), count - 1)
    return torch.cat([index_B.repeat_interleave(2), none])
