"""Stable Video Diffusion and its single-forward descendants (arXiv 2311.15127, 2406.04324)."""

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, DiffusionPipeline, UNetSpatioTemporalConditionModel
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing
from PIL import Image
from torch import Tensor, nn

from vdmini.families.base import FullSize, Inputs, StepDone
from vdmini.families.stages import stage_ends
from vdmini.manifest import Defaults, Limits
from vdmini.removal import remove_blocks, stock_arguments_and_removed_blocks

ENCODER_SIZE = (224, 224)
"""Height and width of the picture that CLIP's vision towers see, which the stock pipeline makes."""


class VDMiniUNetSpatioTemporal(UNetSpatioTemporalConditionModel):
    """SVD's U-Net without some blocks. Call it as the stock class.

    Args:
        removed_blocks: the plan, by teacher names.

    The remaining arguments are the teacher's. Raises `PlanError` where the plan does not fit them.
    """

    __module__ = "vdmini"  # what a saved pipeline's model_index.json names

    @stock_arguments_and_removed_blocks(UNetSpatioTemporalConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, removed_blocks)


class StableVideoDiffusion:
    """Image to video with `UNetSpatioTemporalConditionModel` and an Euler sampler; one step is SF-V's."""

    name = "svd"
    task: Literal["i2v", "t2v"] = "i2v"
    unet_class: type[nn.Module] = UNetSpatioTemporalConditionModel
    student_class: type[nn.Module] = VDMiniUNetSpatioTemporal
    stages_may_differ = True
    full_size = FullSize(
        unet=MappingProxyType({"num_attention_heads": (5, 10, 20, 20), "num_frames": 14, "sample_size": 96}),
        vae_class=AutoencoderKLTemporalDecoder,
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
        encoder_parameters=632_076_800,  # CLIP ViT-H/14's vision tower and projection
        limits=Limits(
            sizes=((1024, 576),),
            min_num_frames=14,
            max_num_frames=14,
            min_fps=5,
            max_fps=30,
            num_inference_steps=(25,),
        ),
        defaults=Defaults(width=1024, height=576, num_frames=14, fps=7, num_inference_steps=25, guidance_scale=3.0),
    )
    """Stable Video Diffusion (arXiv 2311.15127), 14 frames; SF-V is the same network."""

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `StableVideoDiffusionPipeline`."""
        pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def work_on_device(self, pipeline: Any) -> None:
        """Let the picture cross as bytes and be shrunk there for the image encoder, which takes long on a CPU."""
        stock = pipeline._encode_image

        def encode_image(pixels: Tensor, *rest: Any) -> Tensor:
            encoded: Tensor = stock(_shrunk(pixels), *rest)
            return encoded

        pipeline._encode_image = encode_image

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> Tensor:
        """Generate a clip from `inputs.image`; `guidance_scale` above 1 rises from 1 over the frames, as SVD's does."""
        if inputs.image is None:
            raise ValueError("this model makes a video from an image; give one")

        def on_step(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
            step_done(step + 1)
            return state

        on_device = "_encode_image" in vars(pipeline)
        made = pipeline(
            _pixels(inputs.image, pipeline.device) if on_device else inputs.image,
            height=inputs.height,
            width=inputs.width,
            num_frames=inputs.num_frames,
            num_inference_steps=inputs.num_inference_steps,
            min_guidance_scale=1.0,
            max_guidance_scale=inputs.guidance_scale,
            fps=inputs.fps,
            motion_bucket_id=inputs.motion_bucket_id,
            noise_aug_strength=inputs.noise_aug_strength,
            generator=torch.Generator().manual_seed(inputs.seed),
            output_type="pt",
            callback_on_step_end=on_step,
        )
        frames: Tensor = made.frames[0]
        return frames

    def count_tokens(self, pipeline: Any, prompt: str) -> int:  # noqa: ARG002 - the protocol's signature
        """No prompt, no tokens."""
        return 0

    def taps(self, unet: Any) -> dict[str, str]:
        """The last module of every stage: a transformer over space and time, or a ResBlock where there is none."""
        return stage_ends(unet, "attentions")

    def decoder_parameters(self, pipeline: Any) -> int:
        """Parameters of the temporal decoder."""
        return sum(p.numel() for p in pipeline.vae.decoder.parameters())

    def unet_inputs(self, unet: Any, num_frames: int, height: int, width: int, device: torch.device) -> dict[str, Any]:
        """Noisy latents [1, F, C, H, W] beside the picture's, its embedding (one token), fps - 1, motion and noise."""
        config, cross = unet.config, unet.config["cross_attention_dim"]
        time_ids = config["projection_class_embeddings_input_dim"] // config["addition_time_embed_dim"]
        like: dict[str, Any] = {"dtype": unet.dtype, "device": device}
        return {
            "sample": torch.randn(1, num_frames, config["in_channels"], height, width, **like),
            "timestep": torch.full((1,), 1.6, **like),
            "encoder_hidden_states": torch.randn(1, 1, cross if isinstance(cross, int) else cross[0], **like),
            "added_time_ids": torch.ones(1, time_ids, **like),
        }


def _pixels(image: Image.Image, device: torch.device) -> Tensor:
    """A picture as float32 [1, 3, H, W] in 0..1."""
    pixels_HW3 = torch.from_numpy(np.array(image.convert("RGB"))).to(device)
    return pixels_HW3.permute(2, 0, 1)[None].float() / 255


def _shrunk(pixels: Tensor) -> Tensor:
    """What the stock pipeline makes of a picture for its encoder: float32 [1, 3, 224, 224] in 0..1, on the CPU."""
    made: Tensor = (_resize_with_antialiasing(pixels * 2 - 1, ENCODER_SIZE) + 1) / 2
    return made.cpu()
