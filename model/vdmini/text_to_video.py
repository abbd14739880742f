"""The text-to-video pipeline: VideoCrafter2 and T2V-Turbo-v2 in diffusers' manner.

Legend: B clips, F frames, C latent channels, H height, W width of the latents.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, LCMScheduler
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from vdmini.unet3d_fps import (
    MOTION_GS,
    MOTION_PERCENTAGE,
    UNet3DFpsConditionModel,
    guidance_scale_embedding,
    motion_condition,
    timestep_condition,
)

StepCallback = Callable[[Any, int, int, dict[str, Any]], dict[str, Any]]


@dataclass
class TextToVideoOutput(BaseOutput):
    """Generated clips.

    Args:
        frames: clips in the asked form: PIL lists, arrays [B, F, H, W, 3] in 0..1, tensors or latents.
    """

    frames: Any


class VDMiniTextToVideoPipeline(DiffusionPipeline):
    """Samples a latent consistency model with distilled guidance (T2V-Turbo-v2, arXiv 2410.05677).

    Args:
        vae: Stable Diffusion's 2D VAE, applied frame by frame.
        text_encoder: CLIP text model.
        tokenizer: its tokenizer.
        unet: the denoiser, teacher or student.
        scheduler: an LCM scheduler.
        clip_skip: 1 takes the text encoder's penultimate layer, as VideoCrafter2 does; 0 takes the last.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs = ["latents"]  # noqa: RUF012 - diffusers reads this list from the class

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet3DFpsConditionModel,
        scheduler: LCMScheduler,
        clip_skip: int = 0,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.register_to_config(clip_skip=clip_skip)
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(do_resize=False, vae_scale_factor=self.vae_scale_factor)

    def encode_prompt(self, prompt: list[str], *, device: torch.device | None = None) -> Tensor:
        """Text features [B, tokens, D] of prompts; what exceeds the tokenizer's length is cut.

        Args:
            prompt: B sentences.
            device: where the text encoder runs; looked up by default.
        """
        made = self.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
        ids = made.input_ids.to(device or self._execution_device)
        if not self.config.clip_skip:
            features: Tensor = self.text_encoder(ids).last_hidden_state
            return features
        hidden = self.text_encoder(ids, output_hidden_states=True).hidden_states
        tower: Any = getattr(
            self.text_encoder, "text_model", self.text_encoder
        )  # transformers 5.6 took the wrapper away
        skipped: Tensor = tower.final_layer_norm(hidden[-1 - self.config.clip_skip])
        return skipped

    def decode_latents(self, latents_BCFHW: Tensor, decode_chunk_size: int) -> Tensor:
        """Pixels [B, 3, F, height, width] in -1..1, decoded a few frames at a time."""
        clips, _, frames = latents_BCFHW.shape[:3]
        flat = latents_BCFHW.transpose(1, 2).flatten(0, 1) / self.vae.config.scaling_factor
        parts = [self.vae.decode(part).sample for part in flat.split(decode_chunk_size)]
        pixels = torch.cat(parts)
        return pixels.reshape(clips, frames, *pixels.shape[1:]).transpose(1, 2).float()

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int = 16,
        num_inference_steps: int = 4,
        guidance_scale: float = 7.5,
        fps: int = 8,
        motion_gs: float | None = MOTION_GS,
        percentage: float = MOTION_PERCENTAGE,
        decode_chunk_size: int | None = None,
        generator: torch.Generator | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> TextToVideoOutput:
        """Generate clips from sentences.

        Args:
            prompt: a sentence, or B of them.
            height: in pixels; the U-Net's own size by default.
            width: in pixels.
            num_frames: F.
            num_inference_steps: LCM steps.
            guidance_scale: the distilled guidance weight w; no unconditional pass is made.
            fps: frames per second that the U-Net is told.
            motion_gs: T2V-Turbo-v2's motion guidance, 0 or more; None tells the U-Net nothing of motion. A U-Net
                without motion projections takes none, and this says nothing to it.
            percentage: of the timesteps, the noisiest, that motion guidance is for, in 0..1; the others get 0.
            decode_chunk_size: frames decoded at a time; all by default.
            generator: source of all randomness.
            latents: starting noise [B, C, F, H, W], or None to draw it.
            output_type: "pil", "np", "pt" or "latent".
            callback_on_step_end: called after each step; raising in it stops the generation.

        Returns:
            The frames.

        Raises:
            ValueError: more steps than the model was distilled on, or none.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        device = self._execution_device
        text = self.encode_prompt(prompts, device=device)
        condition = self._condition(len(prompts), guidance_scale, fps, device)
        self.scheduler.set_timesteps(timesteps=spaced_timesteps(self.scheduler, num_inference_steps), device=device)
        if latents is None:
            shape = (len(prompts), int(self.unet.config.in_channels), num_frames, *self._cells(height, width))
            latents = randn_tensor(shape, generator=generator, device=device, dtype=text.dtype)
        for index, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            told = self._with_motion(condition, timestep, motion_gs, percentage)
            made = self.unet(latents, timestep, text, timestep_cond=told, return_dict=False)[0]
            latents, clean = self.scheduler.step(made, timestep, latents, generator=generator, return_dict=False)
            if callback_on_step_end is not None:
                callback_on_step_end(self, index, int(timestep), {"latents": latents})
        if output_type == "latent":
            return TextToVideoOutput(frames=clean)
        video = self.decode_latents(clean, decode_chunk_size or num_frames)
        return TextToVideoOutput(frames=self.video_processor.postprocess_video(video, output_type))

    def _cells(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width of the latents; the U-Net's own where nothing is asked."""
        own = self.unet.config.sample_size
        own_height, own_width = own if isinstance(own, list | tuple) else (own, own)
        scale = self.vae_scale_factor
        return height // scale if height else int(own_height), width // scale if width else int(own_width)

    def _condition(self, count: int, guidance_scale: float, fps: int, device: torch.device) -> Tensor:
        weight = torch.full((count,), guidance_scale, device=device)
        embedding = guidance_scale_embedding(weight, int(self.unet.config.time_cond_proj_dim))
        return timestep_condition(embedding, torch.full((count,), float(fps), device=device))

    def _with_motion(self, condition: Tensor, timestep: Tensor, motion_gs: float | None, percentage: float) -> Tensor:
        if motion_gs is None or not self.unet.config.get("motion_cond", False):
            return condition
        noisiest = self.scheduler.config.num_train_timesteps * (1 - percentage)
        motion = motion_condition(timestep.expand(len(condition)), motion_gs, noisiest)
        return torch.cat([condition, motion], dim=1)


def spaced_timesteps(scheduler: Any, count: int) -> list[int]:
    """Every so many of the timesteps that a model was distilled on, from the noisiest, as T2V-Turbo's authors sample.

    diffusers' own spacing is the same where `count` divides their number; 16 of T2V-Turbo's 200 do not.

    Args:
        scheduler: an `LCMScheduler`; its config tells how many there are.
        count: how many to take.

    Raises:
        ValueError: more than there are, or none.
    """
    known = int(scheduler.config.original_inference_steps)
    if not 1 <= count <= known:
        raise ValueError(f"num_inference_steps is {count}; give 1 to {known}, which the model was distilled on")
    apart = int(scheduler.config.num_train_timesteps) // known
    return [apart * (known - index * (known // count)) - 1 for index in range(count)]
