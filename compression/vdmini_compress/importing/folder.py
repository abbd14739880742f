"""Makes a teacher of a published pipeline: the same weights in float16 safetensors, beside what VDMini has to know.

It leaves loading to the family, and measuring to the commands that take a teacher.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vdmini.artifact import ArtifactError, replacing, weights_sha256, write_manifest
from vdmini.engine import Engine, quiet_libraries
from vdmini.families.base import Family
from vdmini.manifest import Cost, Defaults, Limits, Manifest, TeacherId
from vdmini.weights import save_pipeline
from vdmini_compress.pruning import cost_of


@dataclass(frozen=True, kw_only=True)
class Form:
    """The clips that a teacher makes; None means the family's published one.

    Args:
        width: in pixels.
        height: in pixels.
        num_frames: of a clip.
        fps: frames per second where a request is silent.
        num_inference_steps: denoising steps.
        guidance_scale: where a request is silent.
    """

    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None

    def defaults(self, published: Defaults) -> Defaults:
        """What a request gets where it is silent."""
        return published.model_copy(update={key: value for key, value in asdict(self).items() if value is not None})

    def limits(self, published: Limits, defaults: Defaults) -> Limits:
        """The one size and length, and the numbers of steps: the one given, or the published ones."""
        given = self.num_inference_steps
        changes: dict[str, Any] = {
            "sizes": ((defaults.width, defaults.height),),
            "min_num_frames": defaults.num_frames,
            "max_num_frames": defaults.num_frames,
            "min_fps": min(published.min_fps, defaults.fps),
            "max_fps": max(published.max_fps, defaults.fps),
            "num_inference_steps": published.num_inference_steps if given is None else (given,),
        }
        return published.model_copy(update=changes)


def import_folder(source: Path, family: Family, output: Path, *, name: str, licence: str, form: Form) -> Manifest:
    """Write the pipeline of a diffusers folder as a teacher's artifact.

    Args:
        source: the folder, as published; it is left as it is.
        family: the teacher's.
        output: where the artifact goes.
        name: of the artifact.
        licence: of the weights.
        form: of the clips it makes.

    Returns:
        The artifact's manifest.

    Raises:
        ArtifactError: when there is no such folder, its U-Net is of another family, or `output` holds something else.
        ValueError: when the size isn't a multiple of the VAE's pixels per latent.
        OSError: when `source` is no folder of this family's pipeline.
    """
    if not (source / "model_index.json").is_file():
        raise ArtifactError(f"{source} is no diffusers folder: it has no model_index.json; download the model first")
    quiet_libraries()
    device, dtype = torch.device("cpu"), torch.float16
    pipeline = family.load(source, device=device, dtype=dtype)
    found, wanted = type(pipeline.unet).__name__, family.unet_class.__name__
    if found != wanted:
        raise ArtifactError(f"{source} has a {found}; teachers of family {family.name} have a {wanted}")
    defaults = form.defaults(family.full_size.defaults)
    _check_size(pipeline, defaults)
    limits = form.limits(family.full_size.limits, defaults)
    if limits.max_prompt_tokens is not None:
        limits = limits.model_copy(update={"max_prompt_tokens": pipeline.tokenizer.model_max_length})
    with replacing(output) as folder:
        save_pipeline(pipeline, folder)
        manifest = Manifest(
            name=name,
            variant="teacher",
            family=family.name,
            task=family.task,
            teacher=TeacherId(id=source.name, sha256=weights_sha256(folder), licence=licence),
            limits=limits,
            defaults=defaults,
            cost=Cost(unet_parameters=0, unet_flops=0, vae_decoder_parameters=0, total_bytes=0),
        )
        cost = cost_of(Engine(manifest, family, pipeline, device=device, dtype=dtype), folder)
        return write_manifest(folder, manifest.model_copy(update={"cost": cost}))


def _check_size(pipeline: Any, defaults: Defaults) -> None:
    step = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    for side in ("width", "height"):
        value = getattr(defaults, side)
        if value % step:
            raise ValueError(f"{side} {value} is not a multiple of {step}, the VAE's pixels per latent")
