"""VideoCrafter2 and T2V-Turbo-v2 (arXiv 2401.09047, 2410.05677)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vdmini.chunks import frames_at_once
from vdmini.families.base import Inputs, StepDone
from vdmini.families.svd import stage_ends
from vdmini.text_to_video import VDMiniTextToVideoPipeline


class VideoCrafter2:
    """Text to video with `UNet3DFpsConditionModel` and an LCM sampler with distilled guidance."""

    name = "videocrafter2"
    task: Literal["i2v", "t2v"] = "t2v"

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `VDMiniTextToVideoPipeline`."""
        pipeline = VDMiniTextToVideoPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> NDArray[np.float32]:
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
            decode_chunk_size=min(inputs.num_frames, frames_at_once(inputs.width, inputs.height)),
            output_type="np",
            callback_on_step_end=on_step,
        )
        frames: NDArray[np.float32] = made.frames[0]
        return frames

    def count_tokens(self, pipeline: Any, prompt: str) -> int:
        """Tokens of a prompt, start and end included."""
        return len(pipeline.tokenizer(prompt).input_ids)

    def taps(self, unet: Any) -> dict[str, str]:
        """The last module of every stage: a temporal transformer, or a temporal convolution where there is none."""
        ends = stage_ends(unet, "temp_attentions")
        return {stage: name.replace("resnets", "temp_convs") for stage, name in ends.items()}

    def decoder_parameters(self, pipeline: Any) -> int:
        """Parameters of the VAE's decoder and the convolution before it."""
        vae = pipeline.vae
        return sum(p.numel() for module in (vae.decoder, vae.post_quant_conv) for p in module.parameters())
