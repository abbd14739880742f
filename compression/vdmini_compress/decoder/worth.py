"""What the parts of a decoder are worth: how much of the pixels they carry, and what they cost.

Legend: B clips, F frames, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vdmini.decoder_channels import FIXED, Wire, widths_of, wiring
from vdmini.small_decoder import removable_layers
from vdmini_compress.decoder.prune import without_layers
from vdmini_compress.precision import mixed_precision
from vdmini_compress.teachers.autoencoder import decode

PROBES = 8
NORM_COST = 64.0
"""Multiply-adds that take as long as the norm and the activation of one value, which wait for memory."""


def layer_errors(vae: Any, latents_BFCHW: Tensor) -> dict[str, float]:
    """Mean squared change of the pixels when each layer is taken out alone.

    Args:
        vae: a stock VAE.
        latents_BFCHW: unscaled latents to decode.

    Returns:
        Layer -> error of pixels in -1..1, in the order in which they run.
    """
    errors = {}
    with torch.no_grad():
        right = decode(vae, latents_BFCHW)
        for layer in removable_layers(vae.decoder):
            made = decode(without_layers(vae, [layer], share_weights=True), latents_BFCHW)
            errors[layer] = float((made - right).float().square().mean())
    return errors


def channel_scores(vae: Any, latents_BFCHW: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """How much of the pixels each channel of a decoder carries.

    Without a channel the pixels change by J w, to first order, w being the weights that read it and J their Jacobian.
    Its squared length is the mean of (v J w)^2 over random signs v: one backward pass a probe.

    Args:
        vae: either VAE, with or without some layers.
        latents_BFCHW: unscaled latents to decode.
        generator: draws the signs.

    Returns:
        Channel space -> mean squared change of the pixels, float32 [C].
    """
    decoder = vae.decoder.requires_grad_(True)
    total = {space: torch.zeros(width) for space, width in widths_of(decoder).items()}
    for _ in range(PROBES):
        decoder.zero_grad(set_to_none=True)
        with mixed_precision(vae.device):  # in float32 the gradients of two full-size windows fit no GPU
            made = decode(vae, latents_BFCHW).float()
        signs = torch.randint(0, 2, made.shape, generator=generator) * 2 - 1
        (made * signs.to(made)).sum().backward()
        for space, change in _changes(decoder).items():
            total[space] += change.float().square().cpu() / (PROBES * made.numel())
    decoder.zero_grad(set_to_none=True)
    decoder.requires_grad_(False)
    return total


def _changes(decoder: Any) -> dict[str, Tensor]:
    """Channel space -> how the probe changes, to first order, without each of its channels."""
    changes: dict[str, Tensor] = {}
    for wire in wiring(decoder):
        if wire.reads != FIXED and _has_taps(wire.layer):
            weight = wire.layer.weight
            read = (weight.detach() * weight.grad).transpose(0, 1).flatten(1).sum(dim=1)
            changes[wire.reads] = changes[wire.reads] + read if wire.reads in changes else read
    return changes


def _has_taps(layer: Any) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear)


@torch.no_grad()
def bundle_errors(
    vae: Any, latents_BFCHW: Tensor, bundles: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, list[float]]:
    """How much the pixels change when bundles of channels leave, one after the other, other spaces being whole.

    The first order is good enough to order channels, not to tell what many of them cost together.

    Args:
        vae: either VAE, with or without some layers of its decoder; it is as before afterwards.
        latents_BFCHW: unscaled latents to decode.
        bundles: channel space -> bundles of whole norm groups, in the order in which they leave.

    Returns:
        Channel space -> growth of the mean squared error of pixels in -1..1 with each bundle.
    """
    right = decode(vae, latents_BFCHW)
    growth: dict[str, list[float]] = {}
    for space, parts in bundles.items():
        readers = [w.layer.weight for w in wiring(vae.decoder) if w.reads == space and _has_taps(w.layer)]
        kept = [weight.clone() for weight in readers]
        errors = [0.0]
        for channels in parts:
            for weight in readers:
                weight[:, list(channels)] = 0
            errors.append(float((decode(vae, latents_BFCHW) - right).float().square().mean()))
        for weight, value in zip(readers, kept, strict=True):
            weight.copy_(value)
        growth[space] = [later - earlier for earlier, later in pairwise(errors)]
    return growth


@torch.no_grad()
def wire_costs(vae: Any, latents_BFCHW: Tensor) -> dict[str, float]:
    """Work of each layer of a decoder: multiply-adds, and `NORM_COST` for each value that is normalised.

    Args:
        vae: either VAE.
        latents_BFCHW: unscaled latents to decode.

    Returns:
        Name of a layer (`vdmini.decoder_channels.wiring`) -> work; it is proportional to the channels it reads and,
        except for norms, to those it writes.
    """
    costs: dict[str, float] = {}
    handles = [
        wire.layer.register_forward_hook(lambda _, __, made, wire=wire: costs.update({wire.name: _cost(wire, made)}))
        for wire in wiring(vae.decoder)
        if _has_taps(wire.layer) or isinstance(wire.layer, nn.GroupNorm)
    ]
    try:
        decode(vae, latents_BFCHW)
    finally:
        for handle in handles:
            handle.remove()
    return costs


def _cost(wire: Wire, made: Tensor) -> float:
    if isinstance(wire.layer, nn.GroupNorm):
        return made.numel() * NORM_COST
    return float(made.numel() * wire.layer.weight[0].numel())
