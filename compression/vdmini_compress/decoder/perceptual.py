"""Features in which pictures are compared: of the frozen VAE encoder, or of a VGG that lies in a local file.

Legend: N frames, C channels, H height, W width, 3 colour channels.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

VGG_LAYER = re.compile(r"(?:.*\.)?(?:features|net\.slice\d+)\.(\d+)\.(weight|bias)$")
"""Names in torchvision's VGG and in LPIPS's."""

LPIPS_WEIGHT = re.compile(r"(?:.*\.)?lins?\.?(\d+)\.model\.1\.weight$")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures in 0..1."""


class Features(Protocol):
    """A frozen network whose layers tell what a picture looks like."""

    @property
    def weights(self) -> list[Tensor]:
        """How much each channel of a layer counts, [C] for each layer."""
        ...

    def __call__(self, pixels_N3HW: Tensor) -> list[Tensor]:
        """Features [N, C, H, W] of each layer, for pixels in -1..1."""
        ...


class EncoderFeatures(nn.Module):
    """What the Down stages of a VAE's encoder make of a picture; their channels count alike.

    Args:
        vae: either VAE; nobody trains its encoder.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.conv_in, self.down_blocks = vae.encoder.conv_in, vae.encoder.down_blocks
        widths = [block.resnets[-1].out_channels for block in self.down_blocks]
        self.weights = [torch.full((width,), 1 / len(widths), device=vae.device) for width in widths]

    def forward(self, pixels_N3HW: Tensor) -> list[Tensor]:
        """See `Features`."""
        hidden, features = self.conv_in(pixels_N3HW), []
        for block in self.down_blocks:
            for resnet in block.resnets:
                hidden = resnet(hidden, None)
            features.append(hidden)
            for downsampler in block.downsamplers or ():
                hidden = downsampler(hidden)
        return features


class VGGFeatures(nn.Module):
    """What a VGG's convolutions make of a picture, before each pooling and at the end.

    Args:
        weights: by their names in torchvision's VGG or in LPIPS's; LPIPS's channel weights are used when they are
            there, else channels count alike.

    Raises:
        ValueError: when there are no such convolutions, or channel weights that don't fit them.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        layers: dict[int, dict[str, Tensor]] = {}
        for name, value in weights.items():
            if match := VGG_LAYER.match(name):
                layers.setdefault(int(match[1]), {})[match[2]] = value.float()
        if not layers or any(set(layer) != {"weight", "bias"} for layer in layers.values()):
            raise ValueError("it holds no convolutions named as in VGG16 (features.0.weight) or LPIPS (net.slice1.0)")
        self.stages = nn.ModuleList(_stages(layers))
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None] * 2 - 1)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None] * 2)
        self.weights = _channel_weights(weights, [stage[-1].out_channels for stage in self.stages])  # type: ignore[index]

    def forward(self, pixels_N3HW: Tensor) -> list[Tensor]:
        """See `Features`."""
        hidden = (pixels_N3HW - self.mean) / self.deviation
        features: list[Tensor] = []
        for stage in self.stages:
            hidden = F.max_pool2d(hidden, 2) if features else hidden
            for convolution in stage:  # type: ignore[attr-defined]
                hidden = F.relu(convolution(hidden))
            features.append(hidden)
        return features


def _stages(layers: Mapping[int, Mapping[str, Tensor]]) -> list[nn.ModuleList]:
    """Convolutions between poolings: a VGG numbers an activation after each, and a pooling where one number more is."""
    stages: list[nn.ModuleList] = []
    before = -3
    for number in sorted(layers):
        weight = layers[number]["weight"]
        out, into, size, _ = weight.shape
        convolution = nn.Conv2d(into, out, size, padding=size // 2)
        convolution.load_state_dict(dict(layers[number]))
        if number - before > 2:
            stages.append(nn.ModuleList())
        stages[-1].append(convolution)
        before = number
    return stages


def _channel_weights(weights: Mapping[str, Tensor], widths: list[int]) -> list[Tensor]:
    found = {int(m[1]): value.float().flatten() for name, value in weights.items() if (m := LPIPS_WEIGHT.match(name))}
    if not found:
        device = next(iter(weights.values())).device
        return [torch.full((width,), 1 / len(widths), device=device) for width in widths]
    made = [found[index] for index in sorted(found)]
    if [len(weight) for weight in made] != widths:
        raise ValueError(f"its channel weights have widths {[len(w) for w in made]}, its convolutions {widths}")
    return made


def features_of(vae: Any, file: Path | None) -> Features:
    """The frozen network that a healing compares features in.

    Args:
        vae: its encoder is taken where there is no file.
        file: weights as .safetensors, or as .pth or .pt, which are read without running any code in them.

    Raises:
        ValueError: naming a file that is missing or holds something else, and saying what it may hold.
    """
    if file is None:
        return EncoderFeatures(vae).requires_grad_(False).eval()
    try:
        weights = {name: value.to(vae.device) for name, value in _read(file).items()}
        return VGGFeatures(weights).requires_grad_(False).eval().to(vae.device)
    except (OSError, ValueError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise ValueError(f"{file} can't be used for the perceptual loss: {error}") from error


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError("its name must end in .safetensors, .pth or .pt")
    if file.suffix == ".safetensors":
        return load_file(file)  # type: ignore[no-any-return]
    weights = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError("it holds no weights by their names")
    return weights
