"""What a model costs: parameters, and the floating-point operations of one forward pass, by stage.

Two operations per multiply-add of a matrix product, a convolution or an attention; norms, activations and sums are not
counted. Everything runs on the meta device, so that a full-size model costs no memory. Latency is not a cost: it is
measured, elsewhere.

Legend: B batch (1), F frames, C latent channels, H height, W width of the latents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from vdmini.families import family_of
from vdmini.fused_attention import FusedAttention
from vdmini.small_decoder import VDMiniAutoencoderKL, VDMiniAutoencoderKLTemporalDecoder

VAE_CLASSES: dict[str, type[nn.Module]] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderKLTemporalDecoder": AutoencoderKLTemporalDecoder,
    "VDMiniAutoencoderKL": VDMiniAutoencoderKL,
    "VDMiniAutoencoderKLTemporalDecoder": VDMiniAutoencoderKLTemporalDecoder,
}
"""The VAE classes by the `_class_name` of their config.json."""


@dataclass(frozen=True)
class StageCost:
    """Parameters and FLOPs (2 per multiply-add) of one stage."""

    parameters: int
    flops: int


@dataclass(frozen=True)
class ModelCost:
    """A model's cost, by the stage names of its teacher: D0.., Mid, U0.., other."""

    stages: Mapping[str, StageCost]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(stage.parameters for stage in self.stages.values())

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass, batch 1."""
        return sum(stage.flops for stage in self.stages.values())

    def size_bytes(self, dtype: torch.dtype) -> int:
        """Bytes of the parameters in a dtype."""
        return self.parameters * dtype.itemsize


def unet_cost(unet: Any, *, num_frames: int, height: int, width: int) -> ModelCost:
    """Cost of one forward pass of a U-Net, batch 1, without guidance.

    Args:
        unet: a teacher or a student, on any device; on meta for one that exists as a config only
            (`vdmini.student.empty_unet`, `empty_student`). Its weights are not read.
        num_frames: frames of the clip.
        height: of the latents.
        width: of the latents.

    Returns:
        Costs by the teacher's stages; a removed stage costs nothing, and `other` is everything outside the stages.
    """
    plain = _as_built(unet)
    return _cost(plain, _stage_modules(plain), _inputs(plain, num_frames, height, width))


def unet_flops(unet: Any, *, num_frames: int, height: int, width: int) -> dict[str, int]:
    """FLOPs of the same pass by the name of every module that computes any; '' is the whole U-Net."""
    plain = _as_built(unet)
    return _flops_by_module(plain, _inputs(plain, num_frames, height, width))


def activation_bytes(unet: Any, *, num_frames: int, height: int, width: int) -> int:
    """Bytes that one forward pass of a U-Net keeps for its backward pass, batch 1, in the U-Net's own dtype.

    Weights are not counted. With gradient checkpointing switched on, what a block recomputes is not counted either, so
    it is a lower bound there.

    Args:
        unet: see `unet_cost`.
        num_frames: frames of the clip.
        height: of the latents.
        width: of the latents.
    """
    weights = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.is_floating_point())
        for name, tensor in unet.state_dict().items()
    }
    owned = {tensor.untyped_storage()._cdata for tensor in weights.values()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in owned:
            kept[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        functional_call(unet, weights, args=(), kwargs=_inputs(unet, num_frames, height, width))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def vae_decoder_cost(vae: Any, *, num_frames: int, height: int, width: int) -> ModelCost:
    """Cost of decoding one clip with the `decoder` of an `AutoencoderKL` or `AutoencoderKLTemporalDecoder`.

    Args:
        vae: the VAE, on any device; pruned ones are counted as they are.
        num_frames: frames of the clip.
        height: of the latents.
        width: of the latents.
    """
    decoder, dtype = vae.decoder, vae.dtype
    inputs = {"sample": torch.empty(num_frames, vae.config.latent_channels, height, width, dtype=dtype, device="meta")}
    if isinstance(vae, AutoencoderKLTemporalDecoder):
        indicator = torch.empty(1, num_frames, dtype=dtype, device="meta")
        inputs |= {"image_only_indicator": indicator, "num_frames": num_frames}  # type: ignore[dict-item]
    stages = {"Mid": "mid_block"} | {f"U{i}": f"up_blocks.{i}" for i in range(len(decoder.up_blocks))}
    return _cost(decoder, stages, inputs)


def empty_vae(vae_class: type[nn.Module], config: Mapping[str, Any]) -> Any:
    """A VAE on the meta device: modules and shapes, but no memory.

    Args:
        vae_class: one of `VAE_CLASSES`.
        config: its config; private entries are left out.
    """
    build: Callable[..., nn.Module] = vae_class
    with torch.device("meta"):
        vae = build(**{key: value for key, value in config.items() if not key.startswith("_")})
    return vae.to("meta")


def _as_built(unet: Any) -> Any:
    """A U-Net as its config builds it: one that was fused skips operations, which belong to what a model costs."""
    if not any(isinstance(module, FusedAttention) for module in unet.modules()):
        return unet
    build: Callable[..., nn.Module] = type(unet)
    with torch.device("meta"):
        plain = build(**{key: value for key, value in unet.config.items() if not key.startswith("_")})
    return plain.to("meta").eval()


def _stage_modules(unet: Any) -> dict[str, str]:
    """Teacher's stage -> the student's module, in the order in which they run; a removed stage has the name ''."""
    removed = unet.config.get("removed_blocks") or ()
    stages: dict[str, str] = {}
    for side, letter in (("down_blocks", "D"), ("up_blocks", "U")):
        kept = iter(range(len(getattr(unet, side))))
        for i in range(len(unet.config["block_out_channels"])):
            stages[f"{letter}{i}"] = "" if f"{side}.{i}" in removed else f"{side}.{next(kept)}"
        if letter == "D":
            stages["Mid"] = "mid_block"
    return stages


def _inputs(unet: Any, num_frames: int, height: int, width: int) -> dict[str, Any]:
    return family_of(type(unet)).unet_inputs(unet, num_frames, height, width, torch.device("meta"))


def _cost(model: nn.Module, stages: Mapping[str, str], inputs: Mapping[str, Any]) -> ModelCost:
    by_module = _flops_by_module(model, inputs)
    parameters = dict.fromkeys([*stages, "other"], 0)
    stage_of = {module: stage for stage, module in stages.items() if module}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        stage = stage_of.get(parts[0]) or stage_of.get(".".join(parts[:2]), "other")
        parameters[stage] += parameter.numel()
    flops = {stage: by_module.get(module, 0) if module else 0 for stage, module in stages.items()}
    flops["other"] = by_module[""] - sum(flops.values())
    return ModelCost({stage: StageCost(parameters[stage], flops[stage]) for stage in parameters})


_COUNTED: dict[Any, dict[str, int]] = {}
"""Counts by what they depend on: one takes a second or more, and a job asks for the same ones again and again."""


def _flops_by_module(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, int]:
    """FLOPs of one forward pass by module name; '' is the whole model."""
    config = {name: value for name, value in getattr(model, "config", {}).items() if not name.startswith("_")}
    shapes = tuple((name, tensor.shape) for name, tensor in model.state_dict().items())
    sizes = tuple((name, getattr(value, "shape", value)) for name, value in inputs.items())
    key = type(model), repr(config), shapes, sizes
    if key not in _COUNTED:
        _COUNTED[key] = _count(model, inputs)
    return dict(_COUNTED[key])


def _count(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, int]:
    empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in model.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(model, empty, args=(), kwargs=dict(inputs))
    root = type(model).__name__
    counts = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    return {name.removeprefix(root).lstrip("."): flops for name, flops in counts.items() if name.startswith(root)}
