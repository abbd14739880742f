"""The pruning of a VAE decoder: what is cut together, what parts are worth, and which of them are chosen."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import Tensor, nn

from vdmini.decoder_channels import FIXED, group_sizes, widths_of, wiring
from vdmini.small_decoder import removable_layers
from vdmini_compress.decoder import choose, worth
from vdmini_compress.decoder.choose import (
    Cut,
    Work,
    channel_cuts,
    choose_channels,
    choose_layers,
    layer_cuts,
    removed_by,
)
from vdmini_compress.decoder.prune import _example, prune_channels, without_channels, without_layers
from vdmini_compress.decoder.timing import side_by_side
from vdmini_compress.decoder.worth import bundle_errors, channel_scores, layer_errors, wire_costs
from vdmini_compress.teachers.autoencoder import decode

FRAMES = 2


pytestmark = pytest.mark.usefixtures("one_thread")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(vae: nn.Module) -> Any:
    """Redraw every weight: what starts at zero would hide a layer that is missing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + 0.02)
    return vae.eval().requires_grad_(False)


def temporal() -> Any:
    stages = ("DownEncoderBlock2D",) * 2
    return spread(
        AutoencoderKLTemporalDecoder(block_out_channels=(32, 64), down_block_types=stages, layers_per_block=2)
    )


def spatial() -> Any:
    stages = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return spread(AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=4, layers_per_block=1, **stages))


@pytest.fixture(params=[temporal, spatial], ids=["temporal", "spatial"])
def vae(request: pytest.FixtureRequest) -> Any:
    return request.param()


LATENTS = draw(1, FRAMES, 4, 4, 4, seed=1)


MULTIPLE = 8


def all_cuts(vae: Any) -> list[Cut]:
    """They are the same in every test, and no test changes a VAE's weights before it asks for them."""
    return list(_all_cuts(hasattr(vae.decoder, "time_conv_out")))


@cache
def _all_cuts(is_temporal: bool) -> tuple[Cut, ...]:
    vae = temporal() if is_temporal else spatial()
    generator = torch.Generator().manual_seed(0)
    return tuple(channel_cuts(vae, LATENTS, Work.of(vae, LATENTS), MULTIPLE, generator))


def some_removed(vae: Any) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Two layers and every second norm group of every space, so that slices are no beginnings."""
    layers = (removable_layers(vae.decoder)[0], removable_layers(vae.decoder)[-1])
    decoder = without_layers(vae, layers, share_weights=True).decoder
    sizes = group_sizes(decoder)
    return layers, {
        space: [c for c in range(width) if c // sizes[space] % 2 == 0] for space, width in widths_of(decoder).items()
    }


def test_torch_pruning_couples_what_the_wiring_says(vae: Any) -> None:
    decoder = vae.decoder.requires_grad_(True)
    graph = torch_pruning.DependencyGraph().build_dependency(decoder, _example(vae), verbose=False)
    names = {module: name for name, module in decoder.named_modules()}
    for space, width in widths_of(decoder).items():
        layer = decoder.get_submodule(space)
        linear = isinstance(layer, nn.Linear)
        cut = torch_pruning.prune_linear_out_channels if linear else torch_pruning.prune_conv_out_channels
        group = graph.get_pruning_group(layer, cut, list(range(width)))
        found = {(names[d.target.module], d.handler.__name__) for d, _ in group if d.target.module in names}
        expected = set()
        for wire in wiring(decoder):
            if isinstance(wire.layer, nn.GroupNorm | nn.Conv2d | nn.Conv3d | nn.Linear):
                expected |= {(wire.name, "prune_out_channels")} if wire.writes == space else set()
                norm = isinstance(wire.layer, nn.GroupNorm)
                expected |= {(wire.name, "prune_in_channels")} if wire.reads == space and not norm else set()
        assert found == expected, space


def test_the_pruned_decoder_computes_the_same_after_it_was_rebuilt_and_reloaded(vae: Any, tmp_path: Path) -> None:
    layers, removed = some_removed(vae)
    in_memory = without_layers(vae, layers)
    prune_channels(in_memory, removed)
    rebuilt = without_channels(vae, layers, removed)
    rebuilt.save_pretrained(tmp_path)
    reloaded = type(rebuilt).from_pretrained(tmp_path)
    expected = decode(in_memory, LATENTS)
    assert torch.equal(decode(rebuilt, LATENTS), expected)
    assert torch.equal(decode(reloaded, LATENTS), expected)
    assert not torch.allclose(expected, decode(vae, LATENTS))


def test_every_kept_weight_is_a_slice_of_the_original(vae: Any) -> None:
    before = copy.deepcopy(vae.state_dict())
    layers, removed = some_removed(vae)
    small = without_channels(vae, layers, removed)
    stock = widths_of(without_layers(vae, layers).decoder)
    kept = {space: [c for c in range(stock[space]) if c not in removed[space]] for space in stock}
    for wire in wiring(small.decoder):
        if isinstance(wire.layer, nn.GroupNorm | nn.Conv2d | nn.Conv3d | nn.Linear):
            for name, weight in wire.layer.named_parameters():
                expected = before[f"decoder.{wire.name}.{name}"]
                expected = expected if wire.writes == FIXED else expected[kept[wire.writes]]
                expected = expected if wire.reads == FIXED or weight.ndim < 2 else expected[:, kept[wire.reads]]
                assert torch.equal(weight, expected), wire.name
    encoders = {name: weight for name, weight in small.state_dict().items() if not name.startswith("decoder.")}
    assert all(torch.equal(weight, before[name]) for name, weight in encoders.items())
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())


def test_the_error_of_a_layer_is_that_of_decoding_without_it(vae: Any) -> None:
    errors = layer_errors(vae, LATENTS)
    assert tuple(errors) == removable_layers(vae.decoder)
    layer = list(errors)[2]
    made = decode(without_layers(vae, [layer]), LATENTS)
    assert errors[layer] == pytest.approx(float((made - decode(vae, LATENTS)).square().mean()), rel=1e-5)


def test_a_channels_score_is_the_squared_change_that_its_readers_make(
    vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worth, "PROBES", 1)
    space = "up_blocks.0.upsamplers.0.conv"
    scores = channel_scores(vae, LATENTS, torch.Generator().manual_seed(3))
    signs = torch.randint(0, 2, decode(vae, LATENTS).shape, generator=torch.Generator().manual_seed(3)) * 2.0 - 1
    readers = [w.layer for w in wiring(vae.decoder) if w.reads == space and hasattr(w.layer, "kernel_size")]
    channel, step = 5, 1e-2
    changed = []
    for factor in (1 + step, 1 - step):
        scaled = copy.deepcopy([reader.weight for reader in readers])
        for reader in readers:
            reader.weight[:, channel] *= factor
        changed.append(float((decode(vae, LATENTS) * signs).sum()))
        for reader, weight in zip(readers, scaled, strict=True):
            reader.weight.copy_(weight)
    slope = (changed[0] - changed[1]) / (2 * step)
    assert float(scores[space][channel]) == pytest.approx(slope**2 / signs.numel(), rel=0.02)
    assert all(p.grad is None and not p.requires_grad for p in vae.decoder.parameters())


def test_the_error_of_bundles_is_that_of_pruning_them_one_after_the_other(vae: Any) -> None:
    before = copy.deepcopy(vae.state_dict())
    space = "conv_in"
    bundles = [cut.channels for cut in all_cuts(vae) if cut.name == space]
    growth = bundle_errors(vae, LATENTS, {space: bundles})[space]
    right, gone = decode(vae, LATENTS), []
    for count, channels in enumerate(bundles, start=1):
        gone += channels
        error = float((decode(without_channels(vae, [], {space: gone}), LATENTS) - right).square().mean())
        assert sum(growth[:count]) == pytest.approx(error, rel=1e-3)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())


def test_the_work_that_cuts_leave_is_that_of_the_pruned_decoder(vae: Any) -> None:
    layers, removed = some_removed(vae)
    cuts = [Cut(layer, (), 0.0, 1.0) for layer in layers]
    cuts += [Cut(space, tuple(channels), 0.0, 1.0) for space, channels in removed.items()]
    small = without_channels(vae, layers, removed)
    share = sum(wire_costs(small, LATENTS).values()) / sum(wire_costs(vae, LATENTS).values())
    assert Work.of(vae, LATENTS).left(cuts) == pytest.approx(share)


def test_cuts_leave_multiples_and_never_all_of_a_space(vae: Any) -> None:
    cuts, whole, sizes = all_cuts(vae), widths_of(vae.decoder), group_sizes(vae.decoder)
    left = dict(whole)
    for cut in cuts:
        left[cut.name] -= len(cut.channels)
        assert left[cut.name] % MULTIPLE == 0
        assert left[cut.name] > 0
        groups = {channel // sizes[cut.name] for channel in cut.channels}
        assert len(cut.channels) == len(groups) * sizes[cut.name]
    assert [cut.price for cut in cuts] == sorted(cut.price for cut in cuts)
    assert all(len(set(gone)) == whole[space] - left[space] for space, gone in removed_by(cuts).items())


def test_so_many_layers_go_that_they_and_the_channels_lose_least_together(vae: Any) -> None:
    work, channels = Work.of(vae, LATENTS), all_cuts(vae)
    layers = sorted(layer_cuts(vae, LATENTS, work), key=lambda cut: cut.price)
    target, errors = 0.5, {}
    for count in range(len(layers) + 1):
        names = tuple(cut.name for cut in layers[:count])
        there = widths_of(without_layers(vae, names, share_weights=True).decoder)
        left = [cut for cut in channels if cut.name in there]
        fewest = next((n for n in range(len(left) + 1) if work.left(layers[:count] + left[:n]) <= target), None)
        if fewest is not None:
            made = decode(without_channels(vae, names, removed_by(left[:fewest])), LATENTS)
            errors[names] = float((made - decode(vae, LATENTS)).square().mean())
    chosen = choose_layers(vae, LATENTS, layers[::-1], channels, target)
    assert len(errors) > 1
    assert errors[chosen] == min(errors.values())


def test_no_layer_goes_where_none_needs_to_or_the_target_is_out_of_reach(vae: Any) -> None:
    work = Work.of(vae, LATENTS)
    layers = layer_cuts(vae, LATENTS, work)
    assert choose_layers(vae, LATENTS, layers, all_cuts(vae), 1.0) == ()
    assert choose_layers(vae, LATENTS, layers, all_cuts(vae), 0.0001) == ()


def by_work(original: Any, small: Any, latents_BFCHW: Tensor, *, runs: int) -> float:
    """Instead of a clock, which no test can rely on."""
    return sum(wire_costs(small, latents_BFCHW).values()) / sum(wire_costs(original, latents_BFCHW).values())


def test_no_more_channels_go_than_the_decode_time_asks_for(vae: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "share", by_work)
    cuts, lines = all_cuts(vae), []
    removed = choose_channels(vae, (), cuts, LATENTS, 0.6, runs=1, say=lines.append)
    shares = [Work.of(vae, LATENTS).left(cuts[:count]) for count in range(len(cuts) + 1)]
    fewest = next(count for count, share in enumerate(shares) if share <= 0.6)
    assert removed == removed_by(cuts[:fewest])
    assert by_work(vae, without_channels(vae, (), removed), LATENTS, runs=1) <= 0.6
    assert any(f"{fewest} of {len(cuts)} cuts" in line for line in lines)


def test_a_decode_time_out_of_reach_is_refused_with_what_can_be_reached(
    vae: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "share", by_work)
    with pytest.raises(
        ValueError, match=r"takes 0\.\d\d of the original's time, more than 0.01; give a latency of 0\."
    ):
        choose_channels(vae, (), all_cuts(vae), LATENTS, 0.01, runs=1, say=lambda _: None)


def test_both_decoders_are_timed_in_turn(vae: Any) -> None:
    order: list[str] = []
    first, second = without_layers(vae, ()), without_layers(vae, ())
    for name, one in (("first", first), ("second", second)):
        one.decoder.register_forward_hook(lambda *_, name=name: order.append(name))
    pairs = side_by_side(first, second, LATENTS, runs=3)
    assert len(pairs) == 3
    assert all(seconds > 0 for pair in pairs for seconds in pair)
    assert order[-6:] == ["first", "second", "second", "first", "first", "second"]
