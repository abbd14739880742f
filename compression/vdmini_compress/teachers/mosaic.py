"""Starts a VAE from a blurred copy of its input instead of from noise.

`AutoencoderKLTemporalDecoder` normalises in 32 groups whatever its width, so at 64 channels a group is a pair, and a
pair of constants always normalises to (1, -1): a plain colour is lost in every norm, and a fresh network spends most
of a short training on finding a way around that. Here each colour x starts in the pairs (x, P - x) and (-x, P + x),
where P is a strong pattern that the zero padding of one convolution leaves along the border. A pair's mean is then
zero and its deviation is P's, so a norm only divides by a constant, and silu(z) - silu(-z) = z makes what follows a
norm linear. Every residual branch starts at zero.
"""

from typing import Any

import torch
from torch import nn

COLOURS = 3
CONSTANT = 3
"""The channel that carries the constant from which the border pattern is made."""

PAIRED = 12
GAIN = 3.0
RING_MEAN = 9 - 3 * 0.21875 - 5 / 64
"""Mean over 8x8 of the number of taps of a 3x3 kernel that fall inside, with padding on two sides."""

RING_DEVIATION = 1.35


def silence_residuals(model: nn.Module) -> None:
    """Zero the last layer of every residual branch, so that each block starts as the identity."""
    for module in model.modules():
        name = type(module).__name__
        if name in ("ResnetBlock2D", "TemporalResnetBlock"):
            _zero(module.conv2)
        elif name == "TemporalConvLayer":
            _zero(module.conv4[-1])  # type: ignore[index]
        elif name in ("TransformerSpatioTemporalModel", "Transformer2DModel", "TransformerTemporalModel"):
            _zero(module.proj_out)
        elif name == "Attention" and module.residual_connection:
            _zero(module.to_out[0])  # type: ignore[index]


def _zero(layer: Any) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


@torch.no_grad()
def start_as_mosaic(vae: Any) -> None:
    """Initialise a VAE so that it returns each 8x8 patch's mean colour.

    Args:
        vae: `AutoencoderKLTemporalDecoder` or `AutoencoderKL` with four stages; its norms' groups at the first and the
            last stage have two or four channels.
    """
    silence_residuals(vae)
    encoder, decoder = vae.encoder, vae.decoder
    for block in [*encoder.down_blocks, *decoder.up_blocks]:
        for shortcut in _shortcuts(block):
            _keep(shortcut, PAIRED)
    _start(encoder.conv_in)
    downs = [block.downsamplers[0].conv for block in encoder.down_blocks[:-1]]
    for conv in downs[:-1]:
        _keep(conv, CONSTANT + 1, corner=2)
    _pair(downs[-1], corner=2, mean=RING_MEAN)
    _unpair(encoder.conv_out)
    nn.init.dirac_(vae.quant_conv.weight)
    nn.init.zeros_(vae.quant_conv.bias)
    vae.quant_conv.bias[vae.config.latent_channels :] = -6.0
    _start(decoder.conv_in)
    ups = [block.upsamplers[0].conv for block in decoder.up_blocks[:-1]]
    _pair(ups[0], corner=1, mean=RING_MEAN)
    for conv in ups[1:]:
        _keep(conv, PAIRED)
    _unpair(decoder.conv_out)
    for identity in (getattr(decoder, "time_conv_out", None), getattr(vae, "post_quant_conv", None)):
        if identity is not None:
            nn.init.dirac_(identity.weight)
            nn.init.zeros_(identity.bias)


def _shortcuts(block: Any) -> list[nn.Conv2d]:
    spatial = [getattr(resnet, "spatial_res_block", resnet) for resnet in block.resnets]
    return [r.conv_shortcut for r in spatial if r.conv_shortcut is not None]


def _taps(conv: nn.Conv2d, out: int, into: int, value: float, corner: int) -> None:
    """Set one channel's kernel to the centre tap, or to the mean over the 2x2 that a stride-2 kernel starts on."""
    if conv.kernel_size == (1, 1):
        conv.weight[out, into] = value
    elif corner == 2:
        conv.weight[out, into, :2, :2] = value / 4
    else:
        conv.weight[out, into, 1, 1] = value


def _start(conv: Any) -> None:
    """Let colours through and add the constant."""
    _keep(conv, COLOURS)
    conv.weight[CONSTANT] = 0
    conv.bias[CONSTANT] = 1


def _keep(conv: Any, channels: int, corner: int = 1) -> None:
    conv.weight[:channels] = 0
    conv.bias[:channels] = 0
    for channel in range(channels):
        _taps(conv, channel, channel, 1.0, corner)


def _pair(conv: Any, *, corner: int, mean: float) -> None:
    """Make the pairs (x, P - x) and (-x, P + x) of each colour."""
    conv.weight[:PAIRED] = 0
    conv.bias[:PAIRED] = 0
    for colour in range(COLOURS):
        for offset, sign in ((0, 1.0), (2, -1.0)):
            first = 4 * colour + offset
            _taps(conv, first, colour, sign, corner)
            _taps(conv, first + 1, colour, -sign, corner)
            conv.weight[first + 1, CONSTANT] += GAIN
            conv.bias[first + 1] = -GAIN * mean


def _unpair(conv: Any) -> None:
    """Read each colour from its two pairs, undoing the norm's division."""
    conv.weight[:COLOURS] = 0
    conv.bias[:COLOURS] = 0
    divisor = GAIN * RING_DEVIATION / 2**0.5
    for colour in range(COLOURS):
        conv.weight[colour, 4 * colour, 1, 1] = divisor
        conv.weight[colour, 4 * colour + 2, 1, 1] = -divisor
