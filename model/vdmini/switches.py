"""The switches that make an engine fast, as data: which there are and where each was measured to pay.

Importing it needs no torch, so settings are checked before anything is loaded. `vdmini.runtime` turns the switches.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vdmini.manifest import Record

if TYPE_CHECKING:
    import torch

Attention = Literal["auto", "flash", "cudnn", "efficient", "math"]
Compile = Literal["none", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


class RuntimeSettings(Record):
    """Switches; each is off in `PLAIN`."""

    unet_channels_last: bool = Field(default=False, description="the U-Net's convolutions see channels innermost")
    vae_channels_last: bool = Field(default=False, description="the VAE's convolutions see channels innermost")
    fused_blocks: bool = Field(
        default=False,
        description="channels innermost everywhere, norms with their activation, sums with their bias; see "
        "`vdmini.fused_blocks`",
    )
    on_device: bool = Field(
        default=False, description="pictures are resized and frames become bytes on the device, not on the host"
    )
    cached_lookups: bool = Field(
        default=False,
        description="devices and precisions are remembered, not looked up among all modules at every call",
    )
    fused_projections: bool = Field(default=False, description="one matrix product for query, key and value")
    attention: Attention = Field(default="auto", description="attention kernel; where one can't run, another does")
    compile: Compile = Field(
        default="none", description="a mode of torch.compile, for U-Net and decoder; two of them use CUDA graphs"
    )
    compile_cache: Path | None = Field(default=None, description="folder that keeps compiled kernels over restarts")
    cudnn_benchmark: bool = Field(default=False, description="cuDNN tries its convolutions once for every new shape")
    cuda_graphs: bool = Field(
        default=False, description="the U-Net's kernels are recorded once for every size and replayed; needs a GPU"
    )
    encoder_graphs: bool = Field(
        default=False, description="kernels of the text or picture encoders are recorded, too; not measured yet"
    )
    decode_chunk_size: int | None = Field(
        default=None, ge=1, description="most frames decoded at once; as many as free memory holds by default"
    )


PLAIN = RuntimeSettings()
"""What diffusers does by itself, but for decoding in chunks where memory is short."""

MEASURED: dict[str, RuntimeSettings] = {
    "cpu": RuntimeSettings(fused_blocks=True, cached_lookups=True),
    "cuda": RuntimeSettings(fused_blocks=True, cached_lookups=True, on_device=True, cuda_graphs=True),
}
"""Device type -> switches that a recorded run in `benchmarks/results` showed to be worth it."""


def label(settings: RuntimeSettings) -> str:
    """The switches that are on, in words; empty for the plain runtime. Latencies are only comparable under the same."""
    changed = settings.model_dump(exclude_defaults=True, exclude={"compile_cache"}, mode="json")
    return " ".join(name if value is True else f"{name}={value}" for name, value in changed.items())


def settings_for(device: "torch.device") -> RuntimeSettings:
    """The switches that were measured to pay on such a device; the plain runtime where nothing was."""
    return MEASURED.get(device.type, PLAIN)
