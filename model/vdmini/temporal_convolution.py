"""Convolutions over time alone, run as two-dimensional ones.

Video models put a convolution of 3 x 1 x 1 behind every spatial one. Libraries have fewer and slower kernels for three
dimensions than for two; places in a picture don't mix in such a convolution, so they can lie in one dimension, which
moves no memory. Weights keep their names, shapes and values.

Legend: B clips, C channels, F frames, H height, W width.
"""

from torch import Tensor, nn
from torch.nn import functional


class TemporalConvolution(nn.Conv3d):
    """A `Conv3d` of k x 1 x 1 as a two-dimensional convolution of F x (H W)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """Return [B, C_out, F, H, W] for `input` [B, C, F, H, W]."""
        height, width = input.shape[3:]
        padding = (int(self.padding[0]), 0)
        flat: Tensor = functional.conv2d(input.flatten(3), self.weight.flatten(3), self.bias, padding=padding)
        made: Tensor = flat.unflatten(3, (height, width))
        return made


def flatten_temporal_convolutions(model: nn.Module) -> int:
    """Let every convolution over time alone run flat, in place.

    Returns:
        How many there are.
    """
    found = [module for module in model.modules() if isinstance(module, nn.Conv3d) and _is_temporal(module)]
    for module in found:
        module.__class__ = TemporalConvolution
    return len(found)


def _is_temporal(module: nn.Conv3d) -> bool:
    return (
        module.kernel_size[1:] == (1, 1)
        and module.stride == module.dilation == (1, 1, 1)
        and tuple(module.padding)[1:] == (0, 0)
        and module.groups == 1
        and module.padding_mode == "zeros"
    )
