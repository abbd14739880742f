"""The discriminator of MCA: spatial and temporal heads on the frozen encoder of a teacher's U-Net.

After SF-V (arXiv 2406.04324, section 4.2): a head of each kind after every Down stage, and only heads are trained. One
more of each sees what enters the stages. The papers leave the heads' layout open; here a head is a residual convolution
of its own kind with a projection on the noise level and the conditions (arXiv 1802.05637). Nor do they say what to do
with an encoder that hardly looks at its latents, as that of a teacher of few steps whose conditions tell it nearly all:
two clips' features are alike to a hundredth there, and heads that are shown them whole learn next to nothing. So they
are shown what a clip changes in them (`View`). It leaves the losses to `vdmini_compress.losses`.

Legend: B clips, F frames, C channels, H height, W width of a stage, D features, K logits of a head.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE_FREQUENCIES = 8
LEAST_SPREAD = 1e-6
"""Keeps a stage that no clip changes, such as one whose norm leaves nothing, from being divided by zero."""


class Noised(Protocol):
    """A batch as a discriminator sees it."""

    @property
    def log_sigma_B(self) -> Tensor:
        """Natural logarithm of each clip's noise level."""
        ...

    @property
    def condition_BD(self) -> Tensor:
        """What else it is told."""
        ...

    def run(self, unet: Any) -> Tensor:
        """Run a U-Net on the batch."""
        ...


class _Encoded(Exception):
    """The last Down stage is done; what comes after it isn't needed."""


def encode(unet: Any, batch: Noised) -> list[Tensor]:
    """What enters a U-Net's Down stages and what each of them makes, [B*F, C, H, W]; later stages are not run.

    Gradients flow to the batch's latents. Several threads may encode with one U-Net.
    """
    outputs: list[Tensor] = []
    owner, stages = threading.get_ident(), list(unet.down_blocks)

    def collect(module: nn.Module, _: Any, output: Any) -> None:
        if threading.get_ident() != owner:
            return
        outputs.append(output if module is unet.conv_in else output[0])
        if module is stages[-1]:
            raise _Encoded

    handles = [module.register_forward_hook(collect) for module in (unet.conv_in, *stages)]
    try:
        batch.run(unet)
    except _Encoded:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return outputs


class View:
    """What heads see of a clip: what it changes in the features of a blank clip, in units of its spread.

    Args:
        unet: whose Down stages see; never trained.
        scales: spread of what clips change, one of what enters the stages and of each stage.
    """

    def __init__(self, unet: Any, scales: Sequence[float]) -> None:
        self.unet, self.scales = unet, tuple(scales)

    @classmethod
    @torch.no_grad()
    def fitted(cls, unet: Any, pairs: Sequence[tuple[Noised, Noised]]) -> "View":
        """The view in whose units the changes of some batches have a mean square spread of 1, stage by stage.

        Args:
            unet: whose Down stages see.
            pairs: batches of clips, each with its blank one; see `__call__`.
        """
        bare = cls(unet, (1.0,) * (1 + len(unet.down_blocks)))
        spreads = [[float(change.std()) for change in bare([clip], blank)[0]] for clip, blank in pairs]
        of_stages = zip(*spreads, strict=True)
        return cls(unet, [max(math.sqrt(sum(s * s for s in some) / len(some)), LEAST_SPREAD) for some in of_stages])

    def __call__(self, clips: Sequence[Noised], blank: Noised) -> list[list[Tensor]]:
        """See clips; gradients flow to their latents.

        Args:
            clips: batches under the same noise and conditions.
            blank: the same with zeros for clean latents.

        Returns:
            Of each batch, what it changes in what enters the stages and in each of them, float32 [B*F, C, H, W].
        """
        with torch.no_grad():
            plain = encode(self.unet, blank)
        return [
            [
                (seen.float() - without.float()) / scale
                for seen, without, scale in zip(encode(self.unet, clip), plain, self.scales, strict=True)
            ]
            for clip in clips
        ]


class Head(nn.Module):
    """Judges one stage's features, frame by frame (spatial) or pixel by pixel over time (temporal).

    Args:
        channels: C of the stage.
        hidden: channels inside.
        told: D of the conditions.
        temporal: whether it sees time instead of space.
    """

    def __init__(self, channels: int, hidden: int, told: int, *, temporal: bool) -> None:
        super().__init__()
        conv = nn.Conv1d if temporal else nn.Conv2d
        self.temporal = temporal
        self.enter = conv(channels, hidden, 1)
        self.norm = nn.GroupNorm(math.gcd(hidden, 8), hidden)
        self.mix = conv(hidden, hidden, 3, padding=1)
        self.leave = conv(hidden, hidden, 1)
        self.told = nn.Linear(told, hidden)
        self.bias = conv(hidden, 1, 1)

    def forward(self, features: Tensor, told_BD: Tensor) -> Tensor:
        """Logits [B, K], one per place that the head looks at.

        Args:
            features: of the stage, [B*F, C, H, W].
            told_BD: the conditions.
        """
        clips, frames = len(told_BD), len(features) // len(told_BD)
        seen = _over_time(features, frames) if self.temporal else features
        hidden = F.leaky_relu(self.norm(self.enter(seen)), 0.2)
        hidden = hidden + F.leaky_relu(self.mix(hidden), 0.2)
        key = self.told(told_BD).repeat_interleave(len(hidden) // clips, dim=0)
        key = key.reshape(*key.shape, *[1] * (hidden.dim() - 2))
        logits: Tensor = (self.leave(hidden) * key).sum(dim=1, keepdim=True) / key.shape[1] ** 0.5 + self.bias(hidden)
        return logits.reshape(clips, -1)


def _over_time(features: Tensor, frames: int) -> Tensor:
    """Pixels folded into the batch: [B*F, C, H, W] to [B*H*W, C, F]."""
    _, channels, height, width = features.shape
    apart = features.reshape(-1, frames, channels, height, width).permute(0, 3, 4, 2, 1)
    return apart.reshape(-1, channels, frames)


class Discriminator(nn.Module):
    """All heads. The encoder isn't part of it: it is handed features.

    Args:
        channels: C of what enters the stages and of each stage, shallow to deep.
        conditions: D of `Noised.condition_BD`.
        hidden: channels inside a head.
    """

    def __init__(self, channels: Sequence[int], conditions: int, *, hidden: int = 64) -> None:
        super().__init__()
        told = conditions + 2 * NOISE_FREQUENCIES
        self.spatial = nn.ModuleList([Head(width, hidden, told, temporal=False) for width in channels])
        self.temporal = nn.ModuleList([Head(width, hidden, told, temporal=True) for width in channels])

    @classmethod
    def of(cls, unet: Any, conditions: int, *, hidden: int = 64) -> "Discriminator":
        """Heads that fit what a `View` shows of a U-Net."""
        stages = unet.config["block_out_channels"]
        return cls((stages[0], *stages), conditions, hidden=hidden)

    def forward(self, features: Sequence[Tensor], batch: Noised) -> list[Tensor]:
        """Logits of each head, [B, K]; higher means more like the teacher's clips.

        Args:
            features: from `View`.
            batch: what was encoded.
        """
        told = torch.cat([batch.condition_BD.float(), noise_features(batch.log_sigma_B)], dim=1)
        heads = zip((*self.spatial, *self.temporal), (*features, *features), strict=True)
        return [head(seen, told) for head, seen in heads]


def noise_features(log_sigma_B: Tensor) -> Tensor:
    """Sines and cosines [B, 2 * NOISE_FREQUENCIES] of a log noise level, periods from about 25 down to 0.2."""
    frequency = 0.25 * 2.0 ** torch.arange(NOISE_FREQUENCIES, device=log_sigma_B.device)
    angle = log_sigma_B.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
