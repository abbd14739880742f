"""Stable Video Diffusion and its single-forward descendants (arXiv 2311.15127, 2406.04324)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from vdmini.chunks import frames_at_once
from vdmini.families.base import Inputs, StepDone


class StableVideoDiffusion:
    """Image to video with `UNetSpatioTemporalConditionModel` and an Euler sampler; one step is SF-V's."""

    name = "svd"
    task: Literal["i2v", "t2v"] = "i2v"

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `StableVideoDiffusionPipeline`."""
        pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> NDArray[np.float32]:
        """Generate a clip from `inputs.image`; `guidance_scale` above 1 rises from 1 over the frames, as SVD's does."""
        if inputs.image is None:
            raise ValueError("this model makes a video from an image; give one")

        def on_step(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
            step_done(step + 1)
            return state

        made = pipeline(
            inputs.image,
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
            decode_chunk_size=min(inputs.num_frames, frames_at_once(inputs.width, inputs.height)),
            output_type="np",
            callback_on_step_end=on_step,
        )
        frames: NDArray[np.float32] = made.frames[0]
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


def stage_ends(unet: Any, attention: str) -> dict[str, str]:
    """Stage -> name of its last module.

    Args:
        unet: teacher or student.
        attention: name of the module list that ends a pair.
    """
    ends = {}
    for index, block in enumerate(unet.down_blocks):
        ends[f"down {index}"] = _last(f"down_blocks.{index}", block, attention)
    for index, block in enumerate(unet.up_blocks):
        ends[f"up {len(unet.up_blocks) - 1 - index}"] = _last(f"up_blocks.{index}", block, attention)
    return ends


def _last(name: str, block: Any, attention: str) -> str:
    listed = attention if hasattr(block, attention) else "resnets"
    return f"{name}.{listed}.{len(getattr(block, listed)) - 1}"
