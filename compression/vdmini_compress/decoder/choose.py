"""Chooses what leaves a decoder, what loses least for its work first: layers, then channels until it is fast enough.

Legend: B clips, F frames, C channels, H height, W width.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vdmini.decoder_channels import Wire, group_sizes, narrow, widths_of, wiring
from vdmini_compress.decoder.prune import without_channels, without_layers
from vdmini_compress.decoder.timing import share
from vdmini_compress.decoder.worth import bundle_errors, channel_scores, layer_errors, wire_costs
from vdmini_compress.teachers.autoencoder import decode

Report = Callable[[str], None]

STAYS = ".conv_shortcut"
"""What is left of a ResBlock when its residual branch leaves."""


@dataclass(frozen=True)
class Cut:
    """Something that can leave.

    Args:
        name: a layer, or a channel space.
        channels: channels of the space that leave together; none for a layer.
        error: mean squared change of the pixels, when all else is whole.
        work: share of the decoder's work that goes, in 0..1.
    """

    name: str
    channels: tuple[int, ...]
    error: float
    work: float

    @property
    def price(self) -> float:
        """Error for the work that goes."""
        return self.error / self.work


@dataclass(frozen=True)
class Work:
    """What each layer of a decoder does, and between which channel spaces it lies.

    Args:
        wires: see `vdmini.decoder_channels.wiring`.
        costs: see `wire_costs`.
        widths: channels of each space.
    """

    wires: Sequence[Wire]
    costs: Mapping[str, float]
    widths: Mapping[str, int]

    @staticmethod
    def of(vae: Any, latents_BFCHW: Tensor) -> "Work":
        """The work of decoding some latents with either VAE."""
        return Work(wiring(vae.decoder), wire_costs(vae, latents_BFCHW), widths_of(vae.decoder))

    def left(self, cuts: Sequence[Cut]) -> float:
        """Share of the work that some cuts leave, in 0..1."""
        kept = {space: 1 - len(gone) / self.widths[space] for space, gone in removed_by(cuts).items()}
        layers = tuple(f"{cut.name}." for cut in cuts if not cut.channels)
        left = 0.0
        for wire in self.wires:
            if wire.name in self.costs and not (wire.name.startswith(layers) and not wire.name.endswith(STAYS)):
                ends = {wire.reads, wire.writes}
                left += self.costs[wire.name] * math.prod(kept.get(space, 1.0) for space in ends)
        return left / sum(self.costs.values())


def layer_cuts(vae: Any, latents_BFCHW: Tensor, work: Work) -> list[Cut]:
    """Every layer that can leave a stock VAE's decoder.

    Args:
        vae: the VAE.
        latents_BFCHW: unscaled latents to judge on.
        work: of its decoder.
    """
    errors = layer_errors(vae, latents_BFCHW)
    return [Cut(layer, (), error, 1 - work.left([Cut(layer, (), 0.0, 1.0)])) for layer, error in errors.items()]


def channel_cuts(vae: Any, latents_BFCHW: Tensor, work: Work, multiple: int, generator: torch.Generator) -> list[Cut]:
    """Every bundle of channels that can leave a decoder, cheapest first.

    Args:
        vae: either VAE, with or without some layers of its decoder.
        latents_BFCHW: unscaled latents to judge on.
        work: of its decoder.
        multiple: widths become multiples of it, and of the sizes of norm groups; no space loses its last one.
        generator: see `channel_scores`.
    """
    sizes, scores = group_sizes(vae.decoder), channel_scores(vae, latents_BFCHW, generator)
    bundles = {space: _bundles(score, sizes[space], multiple) for space, score in scores.items()}
    errors = bundle_errors(vae, latents_BFCHW, bundles)
    cuts = []
    for space, parts in bundles.items():
        dearest = 0.0
        for channels, error in zip(parts, errors[space], strict=True):
            saved = 1 - work.left([Cut(space, channels, 0.0, 1.0)])
            dearest = max(dearest, error / saved)  # a bundle can only leave after those before it
            cuts.append(Cut(space, channels, dearest * saved, saved))
    return sorted(cuts, key=lambda cut: cut.price)


def _bundles(score_C: Tensor, size: int, multiple: int) -> list[tuple[int, ...]]:
    """Norm groups by rising score, bundled so that every width on the way is a multiple; the last bundle stays."""
    step = math.lcm(size, multiple)
    order = score_C.unflatten(0, (-1, size)).sum(dim=1).argsort(stable=True)
    channels = [int(group) * size + k for group in order for k in range(size)]
    first = len(channels) % step or step
    starts = [0, *range(first, len(channels), step)]
    return [tuple(channels[a:b]) for a, b in pairwise(starts)]


@torch.no_grad()
def choose_layers(
    vae: Any, latents_BFCHW: Tensor, layers: Sequence[Cut], channels: Sequence[Cut], target: float
) -> tuple[str, ...]:
    """Layers to take out: so many of the cheapest that they and the channels that leave besides lose least together.

    What layers and channels lose apart doesn't add up, so every number of layers is tried with the channels that its
    target leaves.

    Args:
        vae: a stock VAE.
        latents_BFCHW: unscaled latents to judge on.
        layers: its `layer_cuts`.
        channels: its `channel_cuts`.
        target: share of the work that may be left.

    Returns:
        Names, cheapest first; none where no number of layers reaches the target.
    """
    work, right = Work.of(vae, latents_BFCHW), decode(vae, latents_BFCHW)
    ranked = sorted(layers, key=lambda cut: cut.price)
    best: tuple[str, ...] = ()
    least = math.inf
    for count in range(len(ranked) + 1):
        names = tuple(cut.name for cut in ranked[:count])
        chosen = _cheapest(work, ranked[:count], channels, target)
        if chosen is None:
            continue
        made = decode(without_channels(vae, names, removed_by(chosen)), latents_BFCHW)
        error = float((made - right).float().square().mean())
        if error < least:
            best, least = names, error
    return best


def _cheapest(work: Work, layers: Sequence[Cut], channels: Sequence[Cut], target: float) -> list[Cut] | None:
    """The cheapest channels that leave no more than `target` of the work once some layers are out, or None."""
    gone = tuple(f"{cut.name}." for cut in layers)
    taken = list(layers)
    for cut in sorted(channels, key=lambda cut: cut.price):
        if work.left(taken) <= target:
            break
        if not cut.name.startswith(gone) or cut.name.endswith(STAYS):
            taken.append(cut)
    return taken if work.left(taken) <= target else None


def removed_by(cuts: Sequence[Cut]) -> dict[str, list[int]]:
    """Channel space -> channels that some cuts remove."""
    removed: dict[str, list[int]] = {}
    for cut in (cut for cut in cuts if cut.channels):
        removed.setdefault(cut.name, []).extend(cut.channels)
    return removed


def choose_channels(
    vae: Any,
    layers: Sequence[str],
    cuts: Sequence[Cut],
    latents_BFCHW: Tensor,
    target: float,
    *,
    runs: int,
    say: Report,
) -> dict[str, list[int]]:
    """The fewest channels to cut for a decode time, found by bisection over measured times.

    Args:
        vae: the stock VAE, which is timed beside each candidate.
        layers: those that are out.
        cuts: the `channel_cuts` that are left without them.
        latents_BFCHW: unscaled latents to time on.
        target: decode time as a share of the original's.
        runs: timed pairs of each candidate.
        say: receives a line per candidate.

    Returns:
        Channel space -> channels to cut.

    Raises:
        ValueError: when even all cuts aren't enough; the message tells what can be reached.
    """
    base = without_layers(vae, layers)

    def measured(count: int) -> float:
        found = share(vae, _narrowed(base, removed_by(cuts[:count])), latents_BFCHW, runs=runs)
        say(f"{count} of {len(cuts)} cuts of channels leave {100 * found:.1f} % of the decode time")
        return found

    low, high = -1, len(cuts)
    smallest = measured(high)
    if smallest > target:
        raise ValueError(
            f"the smallest decoder takes {smallest:.2f} of the original's time, more than {target}; give a latency of "
            f"{math.ceil(100 * smallest) / 100} or more, a smaller multiple, or more layers to take out"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if measured(middle) <= target else (middle, high)
    return removed_by(cuts[:high])


def _narrowed(vae: Any, removed: Mapping[str, Sequence[int]]) -> Any:
    """A copy with as many channels as are left, for timing: it keeps the first ones, whichever are meant."""
    made = copy.deepcopy(vae)
    widths = widths_of(made.decoder)
    narrow(made.decoder, {space: widths[space] - len(channels) for space, channels in removed.items()})
    return made
