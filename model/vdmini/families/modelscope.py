"""ModelScope's text-to-video model and its descendant ZeroScope (arXiv 2308.06571)."""

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor, nn

from vdmini.families import unet3d
from vdmini.families.base import FullSize, Inputs, Lesson, StepDone
from vdmini.manifest import Defaults, Limits
from vdmini.removal import remove_blocks, stock_arguments_and_removed_blocks


class VDMiniUNet3DCondition(UNet3DConditionModel):
    """ModelScope's U-Net without some blocks. Call it as the stock class.

    Args:
        removed_blocks: the plan, by teacher names.

    The remaining arguments are the teacher's. Raises `PlanError` where the plan does not fit them.
    """

    __module__ = "vdmini"  # what a saved pipeline's model_index.json names

    @stock_arguments_and_removed_blocks(UNet3DConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, removed_blocks)


class ModelScope(unet3d.OnUNet3D):
    """Text to video with the stock `UNet3DConditionModel`, any scheduler of its folder and classifier-free guidance."""

    name = "modelscope"
    task: Literal["i2v", "t2v"] = "t2v"
    unet_class: type[nn.Module] = UNet3DConditionModel
    student_class: type[nn.Module] = VDMiniUNet3DCondition
    stages_may_differ = False
    full_size = FullSize(
        unet=MappingProxyType({"sample_size": 32}),
        vae_class=AutoencoderKL,
        vae=unet3d.STABLE_DIFFUSION_VAE,
        encoder_parameters=340_387_840,  # Stable Diffusion 2's
        limits=Limits(
            sizes=((256, 256),),
            min_num_frames=16,
            max_num_frames=16,
            min_fps=8,
            max_fps=24,
            num_inference_steps=(25, 50),
            max_prompt_tokens=unet3d.TEXT_TOKENS,
        ),
        defaults=Defaults(width=256, height=256, num_frames=16, fps=8, num_inference_steps=25, guidance_scale=9.0),
    )
    """The 1.7B model; ZeroScope v2 576w is the same network trained on 24 frames of 576x320."""
    lesson = Lesson(consistency=False, from_noise_share=0.0, blank_share=0.1)
    """A diffusion model's own: noise predicted at any level. A tenth of the clips without a caption keep what the
    unconditional pass of guidance needs (arXiv 2207.12598)."""

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `TextToVideoSDPipeline`."""
        pipeline = TextToVideoSDPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> Tensor:
        """Generate a clip from `inputs.prompt`; above a `guidance_scale` of 1, each step passes the U-Net twice."""
        if not inputs.prompt:
            raise ValueError("this model makes a video from a sentence; give a prompt")
        made = pipeline(
            inputs.prompt,
            height=inputs.height,
            width=inputs.width,
            num_frames=inputs.num_frames,
            num_inference_steps=inputs.num_inference_steps,
            guidance_scale=inputs.guidance_scale,
            generator=torch.Generator().manual_seed(inputs.seed),
            output_type="pt",
            callback=lambda step, *_: step_done(step + 1),
        )
        frames: Tensor = made.frames[0]
        return frames

    def encode_prompts(self, pipeline: Any, prompts: list[str]) -> Tensor:
        """The text encoder's last layer; ModelScope's has one layer fewer than CLIP, so that is CLIP's penultimate."""
        features: Tensor = pipeline.encode_prompt(prompts, pipeline.device, 1, False)[0]
        return features

    def timesteps(self, scheduler: Any, count: int) -> Tensor:
        """`count` timesteps, evenly spaced over all that the model was trained on."""
        highest = int(scheduler.config.num_train_timesteps) - 1
        return torch.linspace(highest, 0, count).round().long()

    def condition(self, unet: Any, guidance_scale_B: Tensor, fps_B: Tensor) -> Tensor | None:  # noqa: ARG002 - the protocol's signature
        """Nothing: it knows of neither."""
        return None
