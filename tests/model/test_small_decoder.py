"""Small decoders: what config.json says is what is rebuilt, and what stays computes as it did."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import Tensor, nn

from vdmini.decoder_channels import group_sizes, widths_of, wiring
from vdmini.small_decoder import SMALL_VAE_CLASSES, empty_small_vae, removable_layers, remove_layers

FRAMES = 2


def spread(vae: nn.Module) -> Any:
    """Redraw every weight: what starts at zero would hide a layer that is missing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + 0.02)
    return vae.eval().requires_grad_(False)


def temporal(layers: int = 2) -> Any:
    stages = ("DownEncoderBlock2D",) * 3
    return spread(
        AutoencoderKLTemporalDecoder(block_out_channels=(64, 32, 64), down_block_types=stages, layers_per_block=layers)
    )


def spatial() -> Any:
    stages = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    return spread(AutoencoderKL(block_out_channels=(16, 8, 32), norm_num_groups=4, layers_per_block=1, **stages))


@pytest.fixture(params=[temporal, spatial], ids=["temporal", "spatial"])
def vae(request: pytest.FixtureRequest) -> Any:
    return request.param()


def latents() -> Tensor:
    return torch.randn(FRAMES, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def decoded(vae: Any) -> Tensor:
    extra = {"num_frames": FRAMES} if hasattr(vae.decoder, "time_conv_out") else {}
    pixels: Tensor = vae.decode(latents(), **extra).sample
    return pixels


def with_first_channels(vae: Any, layers: tuple[str, ...], widths: dict[str, int]) -> Any:
    """The small VAE with the slices of the stock weights that its shapes ask for."""
    small, weights = empty_small_vae(vae, layers, widths), vae.state_dict()
    slices = {
        name: weights[name][tuple(slice(size) for size in empty.shape)].clone()
        for name, empty in small.state_dict().items()
    }
    small.load_state_dict(slices, assign=True)
    return small.eval()


def narrower(vae: Any) -> dict[str, int]:
    """Half of every space."""
    sizes = group_sizes(vae.decoder)
    return {space: max(sizes[space], width // 2) for space, width in widths_of(vae.decoder).items()}


def test_the_config_alone_rebuilds_the_decoder(vae: Any, tmp_path: Path) -> None:
    layers = (removable_layers(vae.decoder)[1], removable_layers(vae.decoder)[-1])
    widths = narrower(with_first_channels(vae, layers, {}))
    small = with_first_channels(vae, layers, widths)
    small.save_pretrained(tmp_path)
    loaded = type(small).from_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    assert torch.equal(decoded(loaded), decoded(small))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["_class_name"] == SMALL_VAE_CLASSES[type(vae)].__name__
    assert config["removed_decoder_layers"] == list(layers)
    assert config["decoder_widths"] == widths
    assert config["block_out_channels"] == list(vae.config.block_out_channels)


def test_without_changes_it_is_the_stock_vae(vae: Any) -> None:
    small = with_first_channels(vae, (), {})
    assert isinstance(small, type(vae))
    assert torch.equal(decoded(small), decoded(vae))
    assert widths_of(small.decoder) == widths_of(vae.decoder)


def test_the_encoder_stays_as_it_is(vae: Any) -> None:
    layers = removable_layers(vae.decoder)
    small = with_first_channels(vae, layers, narrower(with_first_channels(vae, layers, {})))
    picture = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(small.encode(picture).latent_dist.mode(), vae.encode(picture).latent_dist.mode())


@contextmanager
def zeroed(*parts: Tensor) -> Iterator[None]:
    """Zero some weights, or views of them, for a while."""
    kept = [part.clone() for part in parts]
    for part in parts:
        part.zero_()
    yield
    for part, values in zip(parts, kept, strict=True):
        part.copy_(values)


def test_a_removed_layer_counts_as_one_that_adds_nothing(vae: Any) -> None:
    whole = decoded(vae)
    for layer in removable_layers(vae.decoder):
        branch = vae.decoder.get_submodule(layer)
        last = branch.to_out[0] if hasattr(branch, "to_out") else branch.conv2
        made = decoded(with_first_channels(vae, (layer,), {}))
        with zeroed(last.weight, last.bias):
            torch.testing.assert_close(made, decoded(vae), msg=lambda text, layer=layer: f"{layer}: {text}")
        assert not torch.allclose(made, whole), layer


def test_every_layer_can_go_at_once(vae: Any) -> None:
    small = with_first_channels(vae, removable_layers(vae.decoder), {})
    assert removable_layers(small.decoder) == ()
    assert decoded(small).shape == decoded(vae).shape


def test_a_channel_that_is_gone_counts_as_one_that_nobody_reads(vae: Any) -> None:
    whole, narrow = widths_of(vae.decoder), narrower(vae)
    for space in whole:
        if narrow[space] == whole[space] or space.endswith("to_q"):
            continue  # attention divides by the square root of its width
        made = decoded(with_first_channels(vae, (), {space: narrow[space]}))
        layers = [wire.layer for wire in wiring(vae.decoder) if wire.reads == space]
        readers = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear)]
        with zeroed(*(weight[:, narrow[space] :] for weight in readers)):
            torch.testing.assert_close(made, decoded(vae), msg=lambda text, space=space: f"{space}: {text}")


def test_norm_groups_keep_their_size(vae: Any) -> None:
    small = with_first_channels(vae, (), narrower(vae))
    assert group_sizes(small.decoder) == group_sizes(vae.decoder)


def test_attention_that_the_stock_decoder_never_runs_is_left_out() -> None:
    vae = temporal(layers=1)
    small = with_first_channels(vae, (), {})
    assert any("attentions" in name for name in vae.decoder.state_dict())
    assert not any("attentions" in name for name in small.decoder.state_dict())
    assert torch.equal(decoded(small), decoded(vae))


def test_unknown_layers_are_refused_and_those_that_are_there_named(vae: Any) -> None:
    known = removable_layers(vae.decoder)
    with pytest.raises(ValueError, match=rf"no layer 'up_blocks.9' to remove; it has {known[0]}"):
        empty_small_vae(vae, ["up_blocks.9"])
    with pytest.raises(ValueError, match=f"no layer '{known[0]}' to remove"):
        remove_layers(vae.decoder, [known[0], known[0]])


def test_widths_that_cannot_be_are_refused(vae: Any) -> None:
    size, stock = group_sizes(vae.decoder)["conv_in"], widths_of(vae.decoder)["conv_in"]
    with pytest.raises(ValueError, match="no channel space 'conv_last'; it has conv_in"):
        empty_small_vae(vae, [], {"conv_last": 8})
    for width in (0, size + 1, stock + size):
        with pytest.raises(ValueError, match=f"conv_in cannot have {width} channels; give a multiple of {size}"):
            empty_small_vae(vae, [], {"conv_in": width})


def test_other_classes_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="of a Identity; stock VAEs are of class AutoencoderKLTemporalDecoder, Autoenc"):
        empty_small_vae(nn.Identity(), [])
