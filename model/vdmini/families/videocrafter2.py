"""VideoCrafter2 and T2V-Turbo-v2 (arXiv 2401.09047, 2410.05677)."""

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from vdmini.families import unet3d
from vdmini.families.base import FullSize, Inputs, Lesson, StepDone
from vdmini.manifest import Defaults, Limits
from vdmini.removal import remove_blocks, stock_arguments_and_removed_blocks
from vdmini.text_to_video import VDMiniTextToVideoPipeline, spaced_timesteps
from vdmini.unet3d_fps import UNet3DFpsConditionModel, guidance_scale_embedding, timestep_condition


class VDMiniUNet3D(UNet3DFpsConditionModel):
    """VideoCrafter2's U-Net without some blocks; see `vdmini.families.svd.VDMiniUNetSpatioTemporal`."""

    __module__ = "vdmini"

    @stock_arguments_and_removed_blocks(UNet3DFpsConditionModel)
    def __init__(self, *args: Any, removed_blocks: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remove_blocks(self, removed_blocks)


class VideoCrafter2(unet3d.OnUNet3D):
    """Text to video with `UNet3DFpsConditionModel` and an LCM sampler with distilled guidance."""

    name = "videocrafter2"
    task: Literal["i2v", "t2v"] = "t2v"
    unet_class: type[nn.Module] = UNet3DFpsConditionModel
    student_class: type[nn.Module] = VDMiniUNet3D
    stages_may_differ = False
    full_size = FullSize(
        unet=MappingProxyType({}),
        vae_class=AutoencoderKL,
        vae=unet3d.STABLE_DIFFUSION_VAE,
        encoder_parameters=340_387_840,  # OpenCLIP ViT-H/14's text tower without its last layer
        limits=Limits(
            sizes=((512, 320),),
            min_num_frames=16,
            max_num_frames=16,
            min_fps=8,
            max_fps=24,
            num_inference_steps=(4, 8, 16),
            max_prompt_tokens=unet3d.TEXT_TOKENS,
        ),
        defaults=Defaults(width=512, height=320, num_frames=16, fps=8, num_inference_steps=4, guidance_scale=7.5),
    )
    """VideoCrafter2 (arXiv 2401.09047) as T2V-Turbo uses it.

    1413.37M parameters: the network has 1413.28M, the projection of the guidance embedding 0.08M more. Counts 2.05M
    lower (770M instead of 772M without the second pairs and the middle) leave out the fps embedding, as the stock
    `UNet3DConditionModel` does.
    """
    lesson = Lesson(consistency=True, from_noise_share=0.7, blank_share=0.0)
    """From pure noise alone the caption must be read to know anything. Guidance is distilled (arXiv 2410.05677)."""

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `VDMiniTextToVideoPipeline`."""
        pipeline = VDMiniTextToVideoPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> Tensor:
        """Generate a clip from `inputs.prompt`."""
        if not inputs.prompt:
            raise ValueError("this model makes a video from a sentence; give a prompt")

        def on_step(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
            step_done(step + 1)
            return state

        made = pipeline(
            inputs.prompt,
            height=inputs.height,
            width=inputs.width,
            num_frames=inputs.num_frames,
            num_inference_steps=inputs.num_inference_steps,
            guidance_scale=inputs.guidance_scale,
            fps=inputs.fps,
            generator=torch.Generator().manual_seed(inputs.seed),
            output_type="pt",
            callback_on_step_end=on_step,
        )
        frames: Tensor = made.frames[0]
        return frames

    def unet_inputs(self, unet: Any, num_frames: int, height: int, width: int, device: torch.device) -> dict[str, Any]:
        """Those of other families on this U-Net, guidance and fps."""
        conditions = torch.ones(1, (unet.config["time_cond_proj_dim"] or 0) + 1, dtype=unet.dtype, device=device)
        return super().unet_inputs(unet, num_frames, height, width, device) | {"timestep_cond": conditions}

    def encode_prompts(self, pipeline: Any, prompts: list[str]) -> Tensor:
        """See `VDMiniTextToVideoPipeline.encode_prompt`."""
        features: Tensor = pipeline.encode_prompt(prompts)
        return features

    def timesteps(self, scheduler: Any, count: int) -> Tensor:
        """The timesteps that sampling in `count` steps visits, int64, falling."""
        return torch.tensor(spaced_timesteps(scheduler, count))

    def condition(self, unet: Any, guidance_scale_B: Tensor, fps_B: Tensor) -> Tensor | None:
        """Guidance embedding and fps, as `vdmini.unet3d_fps.timestep_condition` packs them."""
        embedding = guidance_scale_embedding(guidance_scale_B, int(unet.config["time_cond_proj_dim"]))
        return timestep_condition(embedding, fps_B)
