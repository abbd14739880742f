"""The loaded models of a worker's child, and running one of them. Jobs and Redis are left to `worker.runner`."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from pydantic import ValidationError

from vdmini_serve.contract.model import PUBLIC_FIELDS, ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings

if TYPE_CHECKING:
    from vdmini.engine import Engine, Generation
    from vdmini.manifest import Manifest
    from vdmini.switches import RuntimeSettings


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Args:
        descriptor: what the API knows of it.
        engine: what runs it.
    """

    descriptor: ModelDescriptor
    engine: "Engine"

    @property
    def device(self) -> str:
        """Device, precision and switches of the engine: baselines of others don't count."""
        from vdmini.switches import label  # the API image has no model package

        return f"{self.engine.device} {self.engine.dtype} {label(self.engine.runtime)}".rstrip()

    @property
    def weight_bytes(self) -> int:
        """Bytes that its weights take."""
        modules = (part for part in self.engine.pipeline.components.values() if hasattr(part, "parameters"))
        return sum(weight.nbytes for module in modules for weight in module.parameters())

    def run(self, spec: JobSpec, image: bytes | None, on_progress: Callable[[float], None]) -> "Generation":
        """Run one job.

        Raises:
            ProblemError: when the prompt has more tokens than the model reads.
            vdmini.engine.VideoInterrupted: when `on_progress` raised it.
        """
        self._check_prompt(spec.prompt)
        return self.engine.generate(
            image=_decode(image) if image is not None else None,
            prompt=spec.prompt,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            num_inference_steps=spec.num_inference_steps,
            fps=spec.fps,
            guidance_scale=spec.guidance_scale,
            motion_bucket_id=spec.motion_bucket_id,
            noise_aug_strength=spec.noise_aug_strength,
            seed=spec.seed,
            on_progress=on_progress,
        )

    def _check_prompt(self, prompt: str | None) -> None:
        allowed = self.descriptor.limits.max_prompt_tokens
        if prompt is None or allowed is None:
            return
        tokens = self.engine.count_tokens(prompt)
        if tokens > allowed:
            detail = (
                f"prompt has {tokens} tokens, start and end included; {self.descriptor.name} reads at most {allowed}. "
            )
            raise ProblemError(ProblemKind.PROMPT_TOO_LONG, detail + "Shorten the prompt.")


def describe(manifest: "Manifest") -> ModelDescriptor:
    """The public part of a manifest."""
    return ModelDescriptor.model_validate_json(manifest.model_dump_json(include=set(PUBLIC_FIELDS)))


def verified(folders: Sequence[Path]) -> tuple[ModelDescriptor, ...]:
    """Check all artifacts without loading them; safe in a process that must not import torch.

    Raises:
        vdmini.artifact.ArtifactError: naming the damaged file, or the name that two artifacts share.
    """
    from vdmini.artifact import ArtifactError, verify  # the API image has no model package

    if not folders:
        raise ArtifactError("no artifact to serve; give --artifact DIR, or set VDMINI_ARTIFACTS(_DIR)")
    found: dict[str, Path] = {}
    descriptors = []
    for folder in folders:
        descriptor = describe(verify(folder))
        if descriptor.name in found:
            raise ArtifactError(f"{folder} and {found[descriptor.name]} are both named {descriptor.name}; serve one")
        found[descriptor.name] = folder
        descriptors.append(descriptor)
    return tuple(descriptors)


def artifact_folders(root: Path | None) -> list[Path]:
    """Subfolders of a folder that hold a manifest; hidden ones are being written."""
    if root is None or not root.is_dir():
        return []
    return sorted(path.parent for path in root.glob("*/vdmini.json") if not path.parent.name.startswith("."))


class RuntimeChoiceError(Exception):
    """`VDMINI_RUNTIME` names what there is not; the message says what there is."""


def chosen_runtime(settings: Settings) -> "RuntimeSettings | None":
    """The engine's switches that the settings ask for; None when they leave it to the device. Needs no torch.

    Raises:
        RuntimeChoiceError: naming the wrong switch or value.
    """
    from vdmini.switches import RuntimeSettings  # the API image has no model package

    if settings.runtime is None:
        return None
    try:
        return RuntimeSettings.model_validate(settings.runtime)
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][0]!r}: {each['msg']}, got {each['input']!r:.80}" for each in error.errors())
        known = ", ".join(RuntimeSettings.model_fields)
        raise RuntimeChoiceError(f"wrong switch in VDMINI_RUNTIME: {wrong}; switches are {known}") from error


def open_model(folder: Path, settings: Settings) -> LoadedModel:
    """Load an artifact; only in the worker's child, since torch must never run in its parent.

    Raises:
        vdmini.artifact.ArtifactError: when it is damaged.
    """
    from vdmini.engine import load_engine, pick_device  # imports torch
    from vdmini.switches import settings_for

    runtime = chosen_runtime(settings) or settings_for(pick_device(settings.device))
    engine = load_engine(folder, device=settings.device, dtype=settings.dtype, runtime=runtime)
    return LoadedModel(describe(engine.manifest), engine)


def weight_bytes(folder: Path, settings: Settings) -> int:
    """Bytes that an artifact's weights will take once they are loaded; files hold 16 bits of each."""
    from vdmini.artifact import weight_bytes as stored_bytes
    from vdmini.engine import pick_device, pick_dtype  # imports torch

    return stored_bytes(folder) * pick_dtype(settings.dtype, pick_device(settings.device)).itemsize // 2


def _decode(image: bytes) -> Image.Image:
    with Image.open(io.BytesIO(image), formats=("PNG",)) as opened:
        return opened.convert("RGB")
