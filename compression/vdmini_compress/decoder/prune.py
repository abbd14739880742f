"""Prunes a decoder: layers out, then channels with Torch-Pruning; it decides neither how many nor heals anything.

Torch-Pruning's dependency graph (arXiv 2301.12900) finds what must be cut together. Whole norm groups go, so that
those that stay are normalised as before.

Legend: B clips, F frames, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch_pruning
from torch import nn

from vdmini.decoder_channels import widths_of, wiring
from vdmini.small_decoder import empty_small_vae

Channels = Mapping[str, Sequence[int]]
"""Channel space -> indices of some of its channels."""


def without_layers(vae: Any, layers: Sequence[str], *, share_weights: bool = False) -> Any:
    """A stock VAE's descendant without some layers of its decoder, in evaluation mode.

    Args:
        vae: a stock VAE; it is left as it is.
        layers: see `vdmini.small_decoder.removable_layers`.
        share_weights: True lets it use the VAE's memory: for measuring, never for training.

    Raises:
        ValueError: naming a layer that isn't there.
    """
    weights = vae.state_dict() if share_weights else {name: w.clone() for name, w in vae.state_dict().items()}
    return _loaded(empty_small_vae(vae, layers), weights)


def without_channels(vae: Any, layers: Sequence[str], removed: Channels) -> Any:
    """A stock VAE's descendant without some layers and some channels of its decoder.

    Args:
        vae: a stock VAE; it is left as it is.
        layers: what `without_layers` takes.
        removed: channels to cut, whole norm groups of each space.

    Returns:
        The VAE that its configuration alone describes, with weights that are slices of the original's.
    """
    cut = without_layers(vae, layers)
    prune_channels(cut, removed)
    return _loaded(empty_small_vae(vae, layers, widths_of(cut.decoder)), cut.state_dict())


def prune_channels(vae: Any, removed: Channels) -> None:
    """Cut channels out of a VAE's decoder, and out of whatever depends on them, in place.

    Args:
        vae: either VAE, with or without some layers of its decoder.
        removed: channels to cut, whole norm groups of each space.
    """
    decoder = vae.decoder.requires_grad_(True)
    sizes = {wire.name: wire.layer.num_channels // wire.layer.num_groups for wire in _norms(decoder)}
    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad():  # it follows the graph of gradients
        graph.build_dependency(decoder, example_inputs=_example(vae), verbose=False)
    for space, channels in removed.items():
        layer = decoder.get_submodule(space)
        linear = isinstance(layer, nn.Linear)
        prune = torch_pruning.prune_linear_out_channels if linear else torch_pruning.prune_conv_out_channels
        graph.get_pruning_group(layer, prune, list(channels)).prune()
    for wire in _norms(decoder):
        wire.layer.num_groups = wire.layer.num_channels // sizes[wire.name]
    for stage in decoder.up_blocks:
        for upsampler in stage.upsamplers or ():
            upsampler.channels = upsampler.conv.in_channels
    decoder.requires_grad_(False)


def _norms(decoder: Any) -> list[Any]:
    return [wire for wire in wiring(decoder) if isinstance(wire.layer, nn.GroupNorm)]


def _example(vae: Any) -> dict[str, Any]:
    """Inputs of a decoder, as small as they can be."""
    frames = 2
    inputs = {"sample": torch.zeros(frames, vae.config.latent_channels, 2, 2, device=vae.device, dtype=vae.dtype)}
    if hasattr(vae.decoder, "time_conv_out"):
        indicator = torch.zeros(1, frames, device=vae.device, dtype=vae.dtype)
        return {**inputs, "image_only_indicator": indicator, "num_frames": frames}
    return inputs


def _loaded(small: Any, weights: Mapping[str, torch.Tensor]) -> Any:
    small.load_state_dict({name: weights[name] for name in small.state_dict()}, assign=True)
    return small.eval().requires_grad_(False)
