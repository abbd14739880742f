"""Small VAEs: the stock ones with layers of their decoder taken out and its channels pruned; encoders are untouched.

`config.json` says everything: `removed_decoder_layers` are residual branches by their stock names in the decoder,
`decoder_widths` the width of each channel space that isn't stock (`vdmini.decoder_channels`). It leaves choosing layers
and channels to others.

Legend: N frames of all clips, C channels, H height, W width.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D, TemporalResnetBlock
from torch import Tensor, nn

from vdmini.decoder_channels import BRANCHES, blocks, narrow
from vdmini.removal import Passthrough

Init = TypeVar("Init", bound=Callable[..., None])


class Shortcut(nn.Module):
    """What is left of a ResBlock whose residual branch was removed: its 1x1 convolution, or its input as it is."""

    def __init__(self, conv_shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv_shortcut = conv_shortcut

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return [N, C, H, W] for `hidden_states` [N, C_in, H, W]."""
        return hidden_states if self.conv_shortcut is None else self.conv_shortcut(hidden_states)


class SpatialOnly(nn.Module):
    """A ResBlock of the temporal decoder without its temporal branch, and without the blend of the two."""

    def __init__(self, spatial_res_block: nn.Module) -> None:
        super().__init__()
        self.spatial_res_block = spatial_res_block

    def forward(self, hidden_states: Tensor, temb: Tensor | None = None, **_: Any) -> Tensor:
        """Return [N, C, H, W] for `hidden_states` [N, C_in, H, W]; what tells frames apart is ignored."""
        made: Tensor = self.spatial_res_block(hidden_states, temb)
        return made


def _stock_arguments_and_decoder_changes(stock: Any) -> Callable[[Init], Init]:
    """Give a constructor the stock one's signature plus our two arguments: diffusers reads configs by the signature."""

    def decorate(init: Init) -> Init:
        added = [
            inspect.Parameter("removed_decoder_layers", inspect.Parameter.KEYWORD_ONLY, default=()),
            inspect.Parameter("decoder_widths", inspect.Parameter.KEYWORD_ONLY, default=None),
        ]
        arguments = [*inspect.signature(stock.__init__).parameters.values(), *added]
        init.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
        registered: Init = register_to_config(init)
        return registered

    return decorate


class VDMiniAutoencoderKLTemporalDecoder(AutoencoderKLTemporalDecoder):
    """SVD's VAE with a small decoder. Call it as the stock class.

    Args:
        removed_decoder_layers: residual branches that are gone, by their stock names in the decoder.
        decoder_widths: channel space -> channels, where they aren't stock.

    The remaining arguments are the stock ones. Raises `ValueError` where ours don't fit them.
    """

    __module__ = "vdmini"  # what a saved pipeline's model_index.json names

    @_stock_arguments_and_decoder_changes(AutoencoderKLTemporalDecoder)
    def __init__(
        self,
        *args: Any,
        removed_decoder_layers: Iterable[str] = (),
        decoder_widths: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        remove_layers(self.decoder, removed_decoder_layers)
        narrow(self.decoder, decoder_widths or {})


class VDMiniAutoencoderKL(AutoencoderKL):
    """VideoCrafter2's VAE with a small decoder; see `VDMiniAutoencoderKLTemporalDecoder`."""

    __module__ = "vdmini"

    @_stock_arguments_and_decoder_changes(AutoencoderKL)
    def __init__(
        self,
        *args: Any,
        removed_decoder_layers: Iterable[str] = (),
        decoder_widths: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        remove_layers(self.decoder, removed_decoder_layers)
        narrow(self.decoder, decoder_widths or {})


SMALL_VAE_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    AutoencoderKLTemporalDecoder: VDMiniAutoencoderKLTemporalDecoder,
    AutoencoderKL: VDMiniAutoencoderKL,
}
"""Stock class -> the class of its descendants with a small decoder."""


def empty_small_vae(vae: Any, removed_layers: Iterable[str], widths: Mapping[str, int] | None = None) -> Any:
    """A stock VAE's descendant with a small decoder, on the meta device: modules and shapes, but no memory.

    Args:
        vae: an instance of one of `SMALL_VAE_CLASSES`' keys; only its class and its config are looked at.
        removed_layers: see `removable_layers`.
        widths: channel space -> channels, where they aren't stock.

    Raises:
        TypeError: the VAE is of another class.
        ValueError: a layer or a width doesn't fit; the message names it.
    """
    if type(vae) not in SMALL_VAE_CLASSES:
        known = ", ".join(c.__name__ for c in SMALL_VAE_CLASSES)
        raise TypeError(f"cannot shrink the decoder of a {type(vae).__name__}; stock VAEs are of class {known}")
    config = {key: value for key, value in vae.config.items() if not key.startswith("_")}
    build: Callable[..., Any] = SMALL_VAE_CLASSES[type(vae)]
    with torch.device("meta"):
        small = build(**config, removed_decoder_layers=tuple(removed_layers), decoder_widths=dict(widths or {}))
    return small.to("meta")  # some parameters start as torch.Tensor([x]), which the context doesn't reach


def removable_layers(decoder: Any) -> tuple[str, ...]:
    """Names of the residual branches that are there and can go, each alone, in the order in which they run."""
    present = []
    for name, block in blocks(decoder):
        parts = {f"{name}.{branch}": getattr(block, branch) for branch in BRANCHES if hasattr(block, branch)}
        present += [(parts or {name: block}).items()]
    branches = (ResnetBlock2D, TemporalResnetBlock, Attention)
    return tuple(name for items in present for name, module in items if isinstance(module, branches))


def remove_layers(decoder: Any, names: Iterable[str]) -> None:
    """Take residual branches out of a decoder, in place; a block's shortcut stays.

    The attention that the stock temporal decoder holds and never runs when its middle has one ResBlock goes, too.

    Raises:
        ValueError: the decoder has no such branch, or not any more.
    """
    del decoder.mid_block.attentions[len(decoder.mid_block.resnets) - 1 :]
    for name in names:
        known = removable_layers(decoder)
        if name not in known:
            raise ValueError(f"the decoder has no layer {name!r} to remove; it has {', '.join(known)}")
        layer, parent = decoder.get_submodule(name), name.rpartition(".")[0]
        if isinstance(layer, TemporalResnetBlock):
            decoder.set_submodule(parent, SpatialOnly(decoder.get_submodule(parent).spatial_res_block))
        else:
            decoder.set_submodule(
                name, Passthrough() if isinstance(layer, Attention) else Shortcut(layer.conv_shortcut)
            )
