"""An engine: a verified artifact that is loaded and generates clips, timed by stage.

Legend: F frames, H height, W width.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vdmini.artifact import verify
from vdmini.chunked_decode import Chunks, in_chunks
from vdmini.families import family_named
from vdmini.families.base import Family, Inputs
from vdmini.manifest import Manifest
from vdmini.runtime import attention_kernel, tune
from vdmini.switches import PLAIN, RuntimeSettings

STAGES = ("encode", "denoise", "decode")


class VideoInterrupted(Exception):
    """Raise it from `on_progress` to stop a generation."""


@dataclass(frozen=True)
class Generation:
    """One clip and what it took.

    Args:
        frames: uint8 RGB [F, H, W, 3].
        seconds: wall time of each of `STAGES`.
        finite: whether the decoder gave numbers alone; a NaN or infinity is black in `frames`.
    """

    frames: NDArray[np.uint8]
    seconds: dict[str, float]
    finite: bool = True


@dataclass
class StageClock:
    """Tells the stages of a pipeline's call apart by when its U-Net starts and its last step ends."""

    device: torch.device
    marks: list[Any] = field(default_factory=list)

    def mark(self) -> None:
        """Note where the device is in what it was given: a GPU goes on without waiting for it."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self.device))
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, once the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        spans = [_span(earlier, later) for earlier, later in zip(self.marks, self.marks[1:], strict=False)]
        return dict(zip(STAGES, spans, strict=True))


def _span(earlier: Any, later: Any) -> float:
    """Seconds between two marks; a GPU's own clock is in milliseconds."""
    seconds: float = earlier.elapsed_time(later) / 1000 if isinstance(earlier, torch.cuda.Event) else later - earlier
    return seconds


class Engine:
    """A loaded model.

    Args:
        manifest: what it is.
        family: how it is run.
        pipeline: its diffusers pipeline.
        device: where it runs.
        dtype: in what precision.
    """

    def __init__(
        self, manifest: Manifest, family: Family, pipeline: Any, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.manifest, self.family, self.pipeline = manifest, family, pipeline
        self.torch_device, self.torch_dtype = device, dtype
        self.runtime, self._tuned = PLAIN, False
        self._chunks = Chunks()

    def tune(self, settings: RuntimeSettings) -> None:
        """Make the pipeline fast, in place; see `vdmini.runtime`.

        Raises:
            RuntimeError: when it was tuned before.
        """
        if self._tuned:
            raise RuntimeError(f"{self.manifest.name} was tuned before; load it anew to give it another runtime")
        tune(self.pipeline, settings)
        if settings.on_device:
            self.family.work_on_device(self.pipeline)
        self.runtime, self._tuned = settings, True
        self._chunks = Chunks(settings.decode_chunk_size)

    @property
    def device(self) -> str:
        """The device in words, with its name: latencies are only comparable on the same one."""
        if self.torch_device.type == "cuda":
            return f"{self.torch_device} {torch.cuda.get_device_name(self.torch_device)}"
        return f"cpu {platform.machine()} x{torch.get_num_threads()}"

    @property
    def dtype(self) -> str:
        """The precision's name."""
        return str(self.torch_dtype).removeprefix("torch.")

    def count_tokens(self, prompt: str) -> int:
        """Tokens of a prompt, start and end included."""
        return self.family.count_tokens(self.pipeline, prompt)

    @torch.inference_mode()
    def generate(
        self,
        *,
        image: Image.Image | None,
        prompt: str | None,
        width: int,
        height: int,
        num_frames: int,
        num_inference_steps: int,
        fps: int,
        guidance_scale: float,
        motion_bucket_id: int,
        noise_aug_strength: float,
        seed: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Generation:
        """Generate one clip; the same arguments give the same frames.

        Args:
            image: first frame of an image-to-video model, RGB; resized to width x height if it isn't that size.
            prompt: sentence for a text-to-video model.
            width: in pixels.
            height: in pixels.
            num_frames: F.
            num_inference_steps: denoising steps.
            fps: frames per second, a condition of the model.
            guidance_scale: 1 means no guidance; the distilled w of LCM models.
            motion_bucket_id: amount of motion, 0..255.
            noise_aug_strength: noise added to the image, as a share of its range of 2.
            seed: of all randomness.
            on_progress: called with a fraction in 0..1 before each denoising step and before decoding.

        Returns:
            The clip.

        Raises:
            ValueError: when the task's input is missing.
            VideoInterrupted: when `on_progress` raised it.
        """
        inputs = Inputs(
            image=_fit(image, width, height),
            prompt=prompt,
            width=width,
            height=height,
            num_frames=num_frames,
            num_inference_steps=num_inference_steps,
            fps=fps,
            guidance_scale=guidance_scale,
            motion_bucket_id=motion_bucket_id,
            noise_aug_strength=noise_aug_strength,
            seed=seed,
        )
        report = on_progress or (lambda _: None)
        return self._timed(inputs, report)

    def _timed(self, inputs: Inputs, report: Callable[[float], None]) -> Generation:
        clock = StageClock(self.torch_device)
        steps = inputs.num_inference_steps

        def denoising_starts(*_: Any) -> None:
            if len(clock.marks) == 1:
                clock.mark()
                report(0.0)

        def step_done(done: int) -> None:
            if done == steps:
                clock.mark()
            report(0.9 * done / steps)

        hook = self.pipeline.unet.register_forward_pre_hook(denoising_starts)
        try:
            clock.mark()
            with attention_kernel(self.runtime), in_chunks(self.pipeline.vae, self._chunks, lambda: report(0.9)):
                made = self.family.generate(self.pipeline, inputs, step_done)
            finite = bool(made.isfinite().all())
            frames = to_host(made if finite else made.nan_to_num(0, 0, 0), as_bytes=self.runtime.on_device)
            clock.mark()
        finally:
            hook.remove()
        report(1.0)
        return Generation(to_bytes(frames), clock.seconds(), finite)


def to_host(frames_F3HW: Tensor, *, as_bytes: bool) -> NDArray[Any]:
    """Bring frames to the CPU as arrays [F, H, W, 3].

    Args:
        frames_F3HW: any float dtype, in 0..1.
        as_bytes: whether the device rounds them to uint8, a quarter of the bytes to move; else float32 as in diffusers.
    """
    frames_FHW3 = frames_F3HW.permute(0, 2, 3, 1).float()
    if as_bytes:
        frames_FHW3 = (frames_FHW3 * 255).round().clamp(0, 255).to(torch.uint8).contiguous()
    return frames_FHW3.cpu().numpy()


def to_bytes(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Frames in 0..1 as uint8; those that are uint8 already as they are."""
    return frames if frames.dtype == np.uint8 else (frames * 255).round().clip(0, 255).astype(np.uint8)


def _fit(image: Image.Image | None, width: int, height: int) -> Image.Image | None:
    if image is None or image.size == (width, height):
        return image
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def pick_device(device: str | None) -> torch.device:
    """The given device, else the first GPU, else the CPU."""
    return torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))


def pick_dtype(dtype: str | None, device: torch.device) -> torch.dtype:
    """The given precision, else bfloat16 on a GPU and float32 on a CPU.

    Raises:
        ValueError: when the name is none of float32, float16, bfloat16.
    """
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in names:
        raise ValueError(f"dtype {dtype!r} is unknown; give one of {', '.join(names)}")
    return names[dtype]


def quiet_libraries() -> None:
    """Let diffusers and transformers report errors alone, and draw no progress bars.

    On every load transformers warns that torchvision is missing, which nothing here uses; diffusers, of old classes.
    """
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()


def load_engine(
    folder: Path, *, device: str | None = None, dtype: str | None = None, runtime: RuntimeSettings | None = None
) -> Engine:
    """Verify an artifact and load it.

    Args:
        folder: the artifact.
        device: a torch device; the first GPU, else the CPU, by default.
        dtype: float32, float16 or bfloat16; bfloat16 on a GPU and float32 on a CPU by default.
        runtime: how to make it fast; as diffusers loads it by default, which is what a job prunes and heals.

    Returns:
        The engine.

    Raises:
        vdmini.artifact.ArtifactError: when a file of the artifact is missing or damaged, naming it.
    """
    manifest = verify(folder)
    quiet_libraries()
    family = family_named(manifest.family)
    where = pick_device(device)
    precision = pick_dtype(dtype, where)
    pipeline = family.load(folder, device=where, dtype=precision)
    engine = Engine(manifest, family, pipeline, device=where, dtype=precision)
    if runtime is not None:
        engine.tune(runtime)
    return engine
