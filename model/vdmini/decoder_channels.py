"""Which layers of a VAE decoder must have the same channels, and how to give them fewer.

A channel space is named after the layer that opens it: `conv_in` opens the one that residuals carry through the first
stages, each upsampler and each 1x1 shortcut opens the next, each `conv1` opens one inside its ResBlock. A norm keeps
the number of channels in each of its groups, so that the groups that stay are normalised as before. It leaves choosing
widths and channels to others.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from diffusers.models.upsampling import Upsample2D
from torch import nn

FIXED = "fixed"
"""The space of latents and of pixels, which never shrink."""

BRANCHES = ("spatial_res_block", "temporal_res_block")
"""The residual branches of a ResBlock of the temporal decoder, in the order in which they run."""


class Wire(NamedTuple):
    """One layer of a decoder with the names of the channel spaces that it reads and writes."""

    name: str
    layer: Any
    reads: str
    writes: str


def wiring(decoder: Any) -> list[Wire]:
    """Every layer of a decoder whose channels may change, in the order in which they run.

    Args:
        decoder: of either stock VAE, with or without some of its layers (`vdmini.small_decoder`).
    """
    wires = [Wire("conv_in", decoder.conv_in, FIXED, "conv_in")]
    stream = "conv_in"
    for name, block in blocks(decoder):
        wires += _wires_of(name, block, stream)
        stream = wires[-1].writes
    wires.append(Wire("conv_norm_out", decoder.conv_norm_out, stream, stream))
    wires.append(Wire("conv_out", decoder.conv_out, stream, FIXED))
    return wires


def blocks(decoder: Any) -> Iterator[tuple[str, Any]]:
    """ResBlocks, attentions and upsamplers with their names, in the order in which they run."""
    middle = decoder.mid_block
    yield "mid_block.resnets.0", middle.resnets[0]
    for j, (attention, resnet) in enumerate(zip(middle.attentions, middle.resnets[1:], strict=False)):
        if attention is not None:
            yield f"mid_block.attentions.{j}", attention
        yield f"mid_block.resnets.{j + 1}", resnet
    for i, stage in enumerate(decoder.up_blocks):
        for j, resnet in enumerate(stage.resnets):
            yield f"up_blocks.{i}.resnets.{j}", resnet
        if stage.upsamplers is not None:
            yield f"up_blocks.{i}.upsamplers.0", stage.upsamplers[0]


def _wires_of(name: str, block: Any, stream: str) -> list[Wire]:
    """The wires of one block that reads `stream`; the last one writes what leaves the block."""
    if isinstance(block, ResnetBlock2D | TemporalResnetBlock):
        return _resnet(name, block, stream)
    if isinstance(block, Attention):
        return _attention(name, block, stream)
    if isinstance(block, Upsample2D):
        return [Wire(name, block, stream, stream), Wire(f"{name}.conv", block.conv, stream, f"{name}.conv")]
    if getattr(block, "conv_shortcut", None) is not None:
        return [Wire(f"{name}.conv_shortcut", block.conv_shortcut, stream, f"{name}.conv_shortcut")]
    wires = [Wire(name, None, stream, stream)]
    for branch in BRANCHES:
        if hasattr(block, branch):
            wires += _wires_of(f"{name}.{branch}", getattr(block, branch), wires[-1].writes)
    return wires


def _resnet(name: str, block: Any, stream: str) -> list[Wire]:
    inner, shortcut = f"{name}.conv1", f"{name}.conv_shortcut"
    out = stream if block.conv_shortcut is None else shortcut
    return [
        Wire(f"{name}.norm1", block.norm1, stream, stream),
        Wire(inner, block.conv1, stream, inner),
        Wire(f"{name}.norm2", block.norm2, inner, inner),
        Wire(shortcut, block.conv_shortcut, stream, out),
        Wire(f"{name}.conv2", block.conv2, inner, out),
    ]


def _attention(name: str, block: Any, stream: str) -> list[Wire]:
    inner = f"{name}.to_q"
    return [
        Wire(f"{name}.group_norm", block.group_norm, stream, stream),
        *(Wire(f"{name}.{part}", getattr(block, part), stream, inner) for part in ("to_q", "to_k", "to_v")),
        Wire(f"{name}.to_out.0", block.to_out[0], inner, stream),
    ]


def widths_of(decoder: Any) -> dict[str, int]:
    """Channel space -> number of channels, in the order in which spaces open."""
    return {wire.name: _out(wire.layer) for wire in wiring(decoder) if wire.name == wire.writes and _opens(wire)}


def group_sizes(decoder: Any) -> dict[str, int]:
    """Channel space -> channels in a norm group of the space; spaces without a norm have 1."""
    sizes = dict.fromkeys(widths_of(decoder), 1)
    for wire in wiring(decoder):
        if isinstance(wire.layer, nn.GroupNorm):
            sizes[wire.reads] = max(sizes[wire.reads], wire.layer.num_channels // wire.layer.num_groups)
    return sizes


def _opens(wire: Wire) -> bool:
    return isinstance(wire.layer, nn.Conv2d | nn.Conv3d | nn.Linear)


def _out(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def narrow(decoder: Any, widths: Mapping[str, int]) -> None:
    """Keep the first channels of some spaces of a decoder, in place.

    Args:
        decoder: see `wiring`.
        widths: channel space -> channels to keep; others stay as they are.

    Raises:
        ValueError: naming the space that is unknown, or whose width is no multiple of a norm group's or out of range.
    """
    _check(decoder, widths)
    new = widths_of(decoder) | dict(widths)
    for wire in wiring(decoder):
        fit(wire.layer, new.get(wire.reads), new.get(wire.writes))


def _check(decoder: Any, widths: Mapping[str, int]) -> None:
    stock, sizes = widths_of(decoder), group_sizes(decoder)
    for space, width in widths.items():
        if space not in stock:
            raise ValueError(f"the decoder has no channel space {space!r}; it has {', '.join(stock)}")
        if not 0 < width <= stock[space] or width % sizes[space]:
            raise ValueError(
                f"{space} cannot have {width} channels; give a multiple of {sizes[space]}, the size of its norm "
                f"groups, up to {stock[space]}"
            )


def fit(layer: Any, reads: int | None, writes: int | None) -> None:
    """Give one layer fewer channels: it keeps the first of its weights, where it has more.

    Args:
        layer: a convolution, a linear layer, a norm (its groups keep their size), an upsampler; anything else is left.
        reads: channels that come in; None leaves them.
        writes: channels that go out; None leaves them.
    """
    if isinstance(layer, nn.GroupNorm):
        size = layer.num_channels // layer.num_groups
        layer.num_channels = reads or layer.num_channels
        layer.num_groups = layer.num_channels // size
    elif isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = reads or layer.in_features, writes or layer.out_features
    elif isinstance(layer, nn.Conv2d | nn.Conv3d):
        layer.in_channels, layer.out_channels = reads or layer.in_channels, writes or layer.out_channels
    elif isinstance(layer, Upsample2D):
        layer.channels = reads or layer.channels
    for name, parameter in [] if layer is None else list(layer.named_parameters(recurse=False)):
        kept = parameter.detach()[:writes]
        kept = kept[:, :reads] if kept.ndim > 1 else kept
        layer.register_parameter(name, nn.Parameter(kept.clone(), requires_grad=parameter.requires_grad))
