"""The full-size models, as data: what their published configs say, so that costs can be told without their weights.

It leaves building them to others and imports neither torch nor diffusers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class FullSize:
    """A family's full-size teacher.

    Args:
        unet_class: class name of the U-Net, as in the `_class_name` of a config.json.
        unet: its config; what is left out is the class's default.
        vae_class: class name of the VAE.
        vae: its config.
        width: of the clip in pixels, as published.
        height: of the clip in pixels.
        num_frames: of the clip.
        encoder_parameters: of the image or text encoder.
    """

    unet_class: str
    unet: Mapping[str, Any]
    vae_class: str
    vae: Mapping[str, Any]
    width: int
    height: int
    num_frames: int
    encoder_parameters: int


SVD = FullSize(
    unet_class="UNetSpatioTemporalConditionModel",
    unet=MappingProxyType({"num_attention_heads": (5, 10, 20, 20), "num_frames": 14, "sample_size": 96}),
    vae_class="AutoencoderKLTemporalDecoder",
    vae=MappingProxyType(
        {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": 768,
            "scaling_factor": 0.18215,
        }
    ),
    width=1024,
    height=576,
    num_frames=14,
    encoder_parameters=632_076_800,  # CLIP ViT-H/14's vision tower and projection
)
"""Stable Video Diffusion (arXiv 2311.15127), 14 frames; SF-V is the same network."""

VIDEOCRAFTER2 = FullSize(
    unet_class="UNet3DFpsConditionModel",
    unet=MappingProxyType({}),
    vae_class="AutoencoderKL",
    vae=MappingProxyType(
        {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": 256,
            "scaling_factor": 0.18215,
        }
    ),
    width=512,
    height=320,
    num_frames=16,
    encoder_parameters=354_032_640,  # OpenCLIP ViT-H/14's text tower of 24 layers
)
"""VideoCrafter2 (arXiv 2401.09047) as T2V-Turbo uses it; its VAE is Stable Diffusion's.

1413.37M parameters: the network has 1413.28M, the projection of the guidance embedding 0.08M more. Counts 2.05M lower
(770M instead of 772M without the second pairs and the middle) leave out the fps embedding, as the stock
`UNet3DConditionModel` does.
"""

FULL_SIZE: Mapping[str, FullSize] = MappingProxyType({"svd": SVD, "videocrafter2": VIDEOCRAFTER2})
