"""Two lessons that make a small teacher's deep stages carry its motion.

A small U-Net can do with its outermost stage, which sees the whole picture and all frames; nothing is left to its deep
ones, whose 32 channels SVD's classes normalise one by one. Then removing them costs nothing, and plans don't mean what
they mean in the big teachers. So while the U-Net trains, its deep stages have to say where things are; and an
image-to-video one has to do without its outer stages' view of time in every second step, so that what deep stages know
of motion is worth listening to.

Legend: B clips, F frames, C channels, H height, W width, N lengths.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

READOUT_STAGES = ("down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1", "up_blocks.2")
PIXELS_PER_UNIT = 8.0

STILL_STAGES = (0, 1, 0, 2, 0, 3)
"""How many outer stages see single frames, step by step."""


class PathReadout(nn.Module):
    """Linear readouts of what moves, and how far, from the means of deep features; thrown away after training.

    Args:
        width: the U-Net's channels, stage by stage.
        numbers: how many lengths describe a frame.
    """

    def __init__(self, width: Sequence[int], numbers: int) -> None:
        super().__init__()
        channels = (width[2], width[-1], width[-1], width[-2], width[-3])
        self.heads = nn.ModuleDict(
            {
                stage.replace(".", "_"): nn.Sequential(nn.LayerNorm(c), nn.Linear(c, numbers))
                for stage, c in zip(READOUT_STAGES, channels, strict=True)
            }
        )

    def loss(self, features: dict[str, Tensor], path_BFN: Tensor) -> Tensor:
        """Squared error of the lengths read, summed over stages.

        Args:
            features: stage -> features [B*F, C, H, W].
            path_BFN: in pixels, such as the sprite's centre (x, y) relative to the picture's middle.

        Returns:
            A scalar, in units of (8 pixels) squared.
        """
        place = path_BFN.flatten(0, 1) / PIXELS_PER_UNIT
        terms = [
            F.mse_loss(self.heads[stage.replace(".", "_")](made.float().mean(dim=(2, 3))), place)
            for stage, made in features.items()
        ]
        return torch.stack(terms).sum()


@contextmanager
def still_outside(unet: Any, stages: int) -> Iterator[None]:
    """Let this thread's forward passes see single frames in the outer stages, Down and Up, and time further in.

    Args:
        unet: `UNetSpatioTemporalConditionModel`.
        stages: how many stages, 0 for none.
    """
    owner = threading.get_ident()

    def pass_spatial(_: nn.Module, __: Any, given: dict[str, Any], mixed: Tensor) -> Tensor:
        spatial: Tensor = given["x_spatial"]
        return spatial if threading.get_ident() == owner else mixed

    outer = [*unet.down_blocks[:stages], *unet.up_blocks[len(unet.up_blocks) - stages :]]
    blenders = [module for stage in outer for module in stage.modules() if type(module).__name__ == "AlphaBlender"]
    handles = [blender.register_forward_hook(pass_spatial, with_kwargs=True) for blender in blenders]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
