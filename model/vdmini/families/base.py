"""What every family answers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

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


class Family(Protocol):
    """Everything that differs between teachers; the rest of the code never branches on a name."""

    name: str
    task: Literal["i2v", "t2v"]

    def load(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Any:
        """Load the pipeline of a diffusers folder; it is in evaluation mode and draws no progress bars."""
        ...

    def generate(self, pipeline: Any, inputs: Inputs, step_done: StepDone) -> NDArray[np.float32]:
        """Generate one clip.

        Returns:
            Frames [F, H, W, 3], float32 in 0..1.

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
