"""How a loaded pipeline is made fast: memory layout, fused projections, attention backend, compilation, decode chunks.

One place for every switch of `vdmini.switches`. What diffusers loads is the plain runtime, which all others are held
against (`vdmini-compress bench` times each switch and tells how far its frames are from the plain one's).

Legend: N frames, C latent channels, H height, W width of the latents.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, FusedAttnProcessor2_0
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vdmini.cuda_graphs import graph_forward
from vdmini.fused_blocks import fuse_blocks
from vdmini.lookups import remember_lookups
from vdmini.switches import RuntimeSettings

BACKENDS: dict[str, SDPBackend] = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
"""Attention kernels by name; "auto" is torch's own choice for each call."""


def tune(pipeline: Any, settings: RuntimeSettings) -> None:
    """Change a pipeline's U-Net and VAE in place; weights keep their values and names.

    Args:
        pipeline: of any family, on its device; tune it once, though it may share its VAE with another one.
        settings: the switches.
    """
    for model, wanted in ((pipeline.unet, settings.unet_channels_last), (pipeline.vae, settings.vae_channels_last)):
        if wanted or settings.fused_blocks:
            channels_last(model)
        if settings.fused_blocks:
            fuse_blocks(model)
    if settings.fused_projections:
        fuse_projections(pipeline.unet)
    if settings.cudnn_benchmark and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
    if settings.cached_lookups:
        remember_lookups(pipeline)
    if settings.compile != "none":
        _compile((pipeline.unet, pipeline.vae.decoder), settings)
    for module in _recorded(pipeline, settings):
        graph_forward(module)


def _recorded(pipeline: Any, settings: RuntimeSettings) -> list[nn.Module]:
    """What is recorded as CUDA graphs: many short kernels that would wait for Python."""
    found = [pipeline.unet] if settings.cuda_graphs else []
    if settings.encoder_graphs:
        named = [getattr(pipeline, name, None) for name in ("text_encoder", "image_encoder")]
        found += [module for module in named if module is not None]
        if named[1] is not None:
            found.append(pipeline.vae.encoder)  # text to video never encodes a picture
    return found


def channels_last(model: nn.Module) -> None:
    """Store the weights of all convolutions with channels innermost, in place; what flows through them follows."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            layout = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=layout)


def fuse_projections(unet: nn.Module) -> None:
    """One matrix product for query, key and value, in place; diffusers' own method passes over SVD's attentions."""
    for module in list(unet.modules()):
        if isinstance(module, Attention):
            module.fuse_projections()
            module.set_processor(FusedAttnProcessor2_0())


def _compile(modules: Iterable[Any], settings: RuntimeSettings) -> None:
    """Compile the parts that take the time; shapes are static, so every size is compiled once."""
    if settings.compile_cache is not None:
        import torch._inductor.config as inductor  # only where it is asked for: it is slow to import

        settings.compile_cache.mkdir(parents=True, exist_ok=True)
        inductor.fx_graph_cache = True
        _keep_kernels_in(settings.compile_cache)
    build: Callable[..., Any] = torch.compile
    for module in modules:
        if "forward" not in vars(module):  # a shared decoder is compiled once
            module.forward = build(module.forward, mode=settings.compile, dynamic=False)


def _keep_kernels_in(folder: Path) -> None:
    """Inductor and Triton read these when they first compile."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")


@contextmanager
def attention_kernel(settings: RuntimeSettings) -> Iterator[None]:
    """Prefer one attention kernel while a clip is made; others stand in where it refuses a shape or a dtype."""
    if settings.attention == "auto":
        yield
        return
    first = BACKENDS[settings.attention]
    with sdpa_kernel([first, *(other for other in BACKENDS.values() if other != first)], set_priority=True):
        yield
