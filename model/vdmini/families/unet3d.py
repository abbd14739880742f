"""What families on `UNet3DConditionModel` and Stable Diffusion's VAE share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from vdmini.families.stages import stage_ends

TEXT_TOKENS = 77
"""Length of a CLIP text condition."""

STABLE_DIFFUSION_VAE: Mapping[str, Any] = MappingProxyType(
    {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    }
)
"""Config of Stable Diffusion's `AutoencoderKL` (arXiv 2112.10752)."""


class OnUNet3D:
    """What families answer alike; they inherit it."""

    def work_on_device(self, pipeline: Any) -> None:
        """Nothing to do: a text-to-video pipeline is given no pictures."""

    def count_tokens(self, pipeline: Any, prompt: str) -> int:
        """Tokens of a prompt, start and end included."""
        return len(pipeline.tokenizer(prompt).input_ids)

    def taps(self, unet: Any) -> dict[str, str]:
        """The last module of every stage: a temporal transformer, or a temporal convolution where there is none."""
        ends = stage_ends(unet, "temp_attentions")
        return {stage: name.replace("resnets", "temp_convs") for stage, name in ends.items()}

    def decoder_parameters(self, pipeline: Any) -> int:
        """Parameters of an `AutoencoderKL`'s decoder and of the convolution before it."""
        vae = pipeline.vae
        return sum(p.numel() for module in (vae.decoder, vae.post_quant_conv) for p in module.parameters())

    def unet_inputs(self, unet: Any, num_frames: int, height: int, width: int, device: torch.device) -> dict[str, Any]:
        """Noisy latents [1, C, F, H, W] at timestep 500 and text features; see `Family.unet_inputs`."""
        like: dict[str, Any] = {"dtype": unet.dtype, "device": device}
        return {
            "sample": torch.randn(1, unet.config["in_channels"], num_frames, height, width, **like),
            "timestep": torch.full((1,), 500.0, **like),
            "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, unet.config["cross_attention_dim"], **like),
        }
