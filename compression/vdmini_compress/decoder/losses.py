"""The losses of healing a decoder as pure functions; they reduce in float32.

The adversarial ones are `vdmini_compress.losses`'. Legend: B clips, F frames, N single frames, C channels, H height,
W width, 3 colour channels, pixels in -1..1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vdmini_compress.teachers.autoencoder import pixel_losses

SMALL = 1e-10
"""Keeps the length of a feature that is all zeros from dividing by zero, as LPIPS does."""


def reconstruction_loss(made_BF3HW: Tensor, right_BF3HW: Tensor, weight_BF1HW: Tensor) -> Tensor:
    """Sum of the weighted absolute and squared errors and of the error of edges; see `pixel_losses`.

    Args:
        made_BF3HW: decoded pixels, any float dtype.
        right_BF3HW: the original decoder's, or the true ones, float32.
        weight_BF1HW: how much each pixel counts, on any scale.

    Returns:
        A scalar.
    """
    return torch.stack(list(pixel_losses(made_BF3HW, right_BF3HW, weight_BF1HW).values())).sum()


def perceptual_loss(made: Sequence[Tensor], right: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Distance of features: LPIPS (arXiv 1801.03924, eq. 1).

    Args:
        made: features [N, C, H, W] of each layer.
        right: the same of what is right.
        weights: how much each channel of a layer counts, [C].

    Returns:
        A scalar: squared differences of features of length 1, weighted, averaged over places, summed over layers.
    """
    terms = []
    for made_NCHW, right_NCHW, weight_C in zip(made, right, weights, strict=True):
        difference = _of_length_one(made_NCHW.float()) - _of_length_one(right_NCHW.float())
        terms.append((difference.square() * weight_C[:, None, None]).sum(dim=1).mean())
    return torch.stack(terms).sum()


def _of_length_one(features_NCHW: Tensor) -> Tensor:
    return features_NCHW / (features_NCHW.square().sum(dim=1, keepdim=True) + SMALL).sqrt()


def temporal_loss(made_BF3HW: Tensor, right_BF3HW: Tensor) -> Tensor:
    """Mean absolute error of the changes from each frame to the next: flicker, which no single frame shows.

    Args:
        made_BF3HW: decoded pixels of at least two frames, any float dtype.
        right_BF3HW: the original decoder's.

    Returns:
        A scalar.
    """
    return (made_BF3HW.float().diff(dim=1) - right_BF3HW.float().diff(dim=1)).abs().mean()
