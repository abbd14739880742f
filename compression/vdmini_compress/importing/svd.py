"""Stable Video Diffusion, and what is saved like it, becomes a teacher (arXiv 2311.15127).

Its folder is diffusers' own, so nothing is renamed: float16 weights are linked where the disk allows, others are
converted.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from safetensors import SafetensorError, safe_open

from vdmini.artifact import refuse_foreign, replacing, weight_bytes, weights_sha256, write_manifest
from vdmini.cost import empty_vae, unet_cost
from vdmini.families import family_named
from vdmini.manifest import Cost, Defaults, Limits, Manifest, TeacherId
from vdmini.student import empty_unet
from vdmini.weights import forget_places
from vdmini_compress.importing.checkpoint import CheckpointError, Slot, check_keys
from vdmini_compress.importing.hub import model_folder
from vdmini_compress.importing.room import check_room
from vdmini_compress.importing.weights_file import weight_bytes_of, write_weights

PIPELINE = "StableVideoDiffusionPipeline"
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
"""Component -> its weight file's name without endings."""

CONFIGS = (
    "model_index.json",
    *(f"{component}/config.json" for component in WEIGHTS),
    "scheduler/scheduler_config.json",
    "feature_extractor/preprocessor_config.json",
)

WIDTH, HEIGHT = 1024, 576
LICENCE = "Stability AI's licence for Stable Video Diffusion; read it on the model's page before commercial use"
TYPES = {"F16": torch.float16, "F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64}

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True)
class Weights:
    """A weight file, of which only the header was read.

    Args:
        path: the file.
        tensors: name -> shape and type.
    """

    path: Path
    tensors: Shapes

    @property
    def half(self) -> bool:
        """Whether it can be taken as it is."""
        return all(dtype in {torch.float16, torch.int64} for _, dtype in self.tensors.values())


def import_svd(
    model: str, output: Path, *, width: int = WIDTH, height: int = HEIGHT, say: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Write a teacher.

    Args:
        model: a diffusers folder or a hub id.
        output: where the artifact goes; it appears when it is whole.
        width: of a clip in pixels, that the model was trained for.
        height: in pixels.
        say: receives progress, one line at a time.

    Returns:
        The manifest.

    Raises:
        CheckpointError: when the model can't be had, is another one, or misses a file or a weight.
        vdmini_compress.importing.weights_file.OverflowedError: when a weight doesn't fit float16.
        vdmini_compress.preflight.PreflightError: when the disk is too small.
        vdmini.artifact.ArtifactError: when `output` holds something else.
    """
    refuse_foreign(output)
    source, revision = model_folder(model)
    _check_configs(source, model)
    found = {component: find_weights(source / component, stem) for component, stem in WEIGHTS.items()}
    empty = _empty_models(source)
    for component, module in empty.items():
        _check_weights(found[component], module)
    check_room(output.parent, sum(weight_bytes_of(weights.tensors) for weights in found.values()))
    with replacing(output) as folder:
        for name in (*CONFIGS, *(path.name for path in source.glob("LICENSE*"))):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)
        forget_places(folder)
        for component, weights in found.items():
            target = folder / component / f"{WEIGHTS[component]}.safetensors"
            say(f"{component}: {take(weights, target)}")
        say("hashing")
        name = model if revision else source.resolve().name
        return write_manifest(folder, _manifest(empty, folder, (width, height), name, revision))


def find_weights(folder: Path, stem: str) -> Weights:
    """A component's weight file, float16 where there is a choice.

    Raises:
        CheckpointError: when there is none in safetensors, or it is damaged.
    """
    for ending in (".fp16.safetensors", ".safetensors"):
        path = folder / (stem + ending)
        if path.exists():
            return Weights(path, _header(path))
    there = ", ".join(sorted(path.name for path in folder.glob("*"))) if folder.is_dir() else "nothing"
    raise CheckpointError(
        f"{folder} has no {stem}.fp16.safetensors or {stem}.safetensors (there is {there}); download the model again "
        "with its safetensors files. Pickles are not read, nor weights in several files: save those with diffusers' "
        "save_pretrained(..., max_shard_size='20GB')"
    )


def take(weights: Weights, target: Path) -> str:
    """Put a weight file into the artifact: linked, else copied, else converted to float16.

    Returns:
        Which of them, in a word.
    """
    target.parent.mkdir(exist_ok=True)
    if not weights.half:
        with safe_open(weights.path, framework="pt") as opened:
            write_weights(target, weights.tensors, opened.get_tensor, source=str(weights.path))
        return "converted to float16"
    source = weights.path.resolve()  # the hub's cache holds links
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        return "copied"
    return "linked, so it takes no room of its own"


def _header(path: Path) -> Shapes:
    try:
        with safe_open(path, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            others = sorted(set(kinds.values()) - set(TYPES))
            if others:
                raise CheckpointError(
                    f"{path} holds numbers of type {', '.join(others)}; allowed are {', '.join(TYPES)}"
                )
            return {name: (tuple(part.get_shape()), TYPES[kinds[name]]) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}); download it again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged; download the model again") from error
    if not isinstance(said, dict):
        raise CheckpointError(f"{path} holds no JSON object; download the model again")
    return said


def _check_configs(source: Path, model: str) -> None:
    index = source / "model_index.json"
    if not index.exists():
        raise CheckpointError(
            f"{model} has no model_index.json, so it is no diffusers model; give Stable Video Diffusion as diffusers "
            "saves it, such as stabilityai/stable-video-diffusion-img2vid"
        )
    found = _read(index).get("_class_name")
    if found != PIPELINE:
        raise CheckpointError(f"{model} is a {found}; this command imports a {PIPELINE}")
    for name in CONFIGS:
        _read(source / name)


def _empty_models(source: Path) -> dict[str, Any]:
    """U-Net and VAE on the meta device."""
    unet, vae = (_read(source / component / "config.json") for component in ("unet", "vae"))
    return {
        "unet": empty_unet(UNetSpatioTemporalConditionModel, unet),
        "vae": empty_vae(AutoencoderKLTemporalDecoder, vae),
    }


def _check_weights(weights: Weights, module: Any) -> None:
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    slots = {name: Slot(name, shape, shape) for name, shape in wanted.items()}
    check_keys({name: shape for name, (shape, _) in weights.tensors.items()}, slots, str(weights.path))


def _manifest(
    empty: Mapping[str, Any], folder: Path, size: tuple[int, int], model: str, revision: str | None
) -> Manifest:
    family, (width, height) = family_named("svd"), size
    frames = int(empty["unet"].config.num_frames)
    scale = 2 ** (len(empty["vae"].config.block_out_channels) - 1)
    cost = unet_cost(empty["unet"], num_frames=frames, height=height // scale, width=width // scale)
    return Manifest(
        name="svd-xt-teacher" if frames > 14 else "svd-teacher",
        variant="teacher",
        family=family.name,
        task=family.task,
        teacher=TeacherId(id=model, revision=revision, sha256=weights_sha256(folder), licence=LICENCE),
        limits=Limits(
            sizes=(size,),
            min_num_frames=frames,
            max_num_frames=frames,
            min_fps=5,
            max_fps=30,
            num_inference_steps=(10, 15, 20, 25, 30, 50),
        ),
        defaults=Defaults(
            width=width, height=height, num_frames=frames, fps=7, num_inference_steps=25, guidance_scale=3.0
        ),
        cost=Cost(
            unet_parameters=cost.parameters,
            unet_flops=cost.flops,
            vae_decoder_parameters=sum(weight.numel() for weight in empty["vae"].decoder.parameters()),
            total_bytes=weight_bytes(folder),
        ),
    )
