"""What every family answers.

Legend: B clips, F frames, H height, W width, L tokens, D features, N noise levels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from vdmini.manifest import Defaults, Limits

StepDone = Callable[[int], None]
"""Called with the number of denoising steps that are done; raising in it stops the generation."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """One generation, in diffusers' names; sizes in pixels, `fps` in frames per second."""

    image: Image.Image | None
    prompt: str | None
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    fps: int
    guidance_scale: float
    motion_bucket_id: int
    noise_aug_strength: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """A family's published teacher, as data: its costs can be told without its weights.

    Args:
        unet: config of the U-Net; what is left out is the class's default.
        vae_class: class of the VAE.
        vae: its config.
        encoder_parameters: of the image or text encoder.
        limits: what the model can serve.
        defaults: what it was published with.
    """

    unet: Mapping[str, Any]
    vae_class: type[nn.Module]
    vae: Mapping[str, Any]
    encoder_parameters: int
    limits: Limits
    defaults: Defaults


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How students of a text-to-video teacher learn: as the teacher did.

    Args:
        consistency: whether it is a consistency model. Errors of one are measured of the clean latents; those of a
            diffusion model of what its U-Net predicts, noise or velocity.
        from_noise_share: share of clips, 0..1, that start from the highest noise level, the others from any.
        blank_share: share of clips, 0..1, that lose their caption: above 0 where guidance needs an unconditional pass.
    """

    consistency: bool
    from_noise_share: float
    blank_share: float


class Family(Protocol):
    """Everything that differs between teachers; the rest of the code never branches on a name.

    Args:
        name: of the family, and of its module in `vdmini.families`.
        task: what it makes videos from.
        unet_class: class of teachers' U-Nets, and of students that a configuration of it describes.
        student_class: class of all other students; `vdmini` exports it.
        stages_may_differ: whether a configuration of `unet_class` may give each stage a number of pairs of its own.
        full_size: the published teacher.
    """

    name: str
    task: Literal["i2v", "t2v"]
    unet_class: type[nn.Module]
    student_class: type[nn.Module]
    stages_may_differ: bool
    full_size: FullSize

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load the pipeline of a diffusers folder; it is in evaluation mode and draws no progress bars."""
        ...

    def work_on_device(self, pipeline: Any) -> None:
        """Let the pipeline do on its device what it does with pictures on the CPU, in place."""
        ...

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> Tensor:
        """Generate one clip.

        Returns:
            Frames [F, 3, H, W] on the pipeline's device, any float dtype, in 0..1.

        Raises:
            ValueError: when an input that the task needs is missing.
        """
        ...

    def count_tokens(self, pipeline: Any, prompt: str) -> int:
        """Tokens of a prompt, start and end included; 0 where the task takes no prompt."""
        ...

    def taps(self, unet: Any) -> dict[str, str]:
        """Where individual content distillation compares a student with its teacher (arXiv 2411.18375).

        Returns:
            Stage -> name of the module whose output is the stage's, before any resampling. Stages are named by
            direction and level, "down 0" being the shallowest, so those that survive pruning keep their name.
        """
        ...

    def decoder_parameters(self, pipeline: Any) -> int:
        """Parameters of the part of the VAE that decodes."""
        ...

    def unet_inputs(self, unet: Any, num_frames: int, height: int, width: int, device: torch.device) -> dict[str, Any]:
        """Arguments of a forward pass on one clip of noise, to count or to time it.

        Args:
            unet: teacher or student; its dtype is taken.
            num_frames: F.
            height: of the latents.
            width: of the latents.
            device: where the arguments shall be, meta included.
        """
        ...


@runtime_checkable
class TextFamily(Family, Protocol):
    """A text-to-video family.

    Args:
        lesson: how students learn.
    """

    lesson: Lesson

    def encode_prompts(self, pipeline: Any, prompts: list[str]) -> Tensor:
        """Text features [B, L, D] as the U-Net is given them; what exceeds the tokenizer's length is cut."""
        ...

    def timesteps(self, scheduler: Any, count: int) -> Tensor:
        """About `count` noise levels that a student is trained on, int64 [N], falling."""
        ...

    def condition(self, unet: Any, guidance_scale_B: Tensor, fps_B: Tensor) -> Tensor | None:
        """What the U-Net is given as `timestep_cond`: float32 [B, D], the fps last; None where it isn't told.

        Args:
            unet: teacher or student.
            guidance_scale_B: distilled guidance.
            fps_B: frames per second.
        """
        ...
