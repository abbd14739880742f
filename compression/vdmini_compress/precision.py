"""Which precision to train in: bfloat16 where the processor computes it, float32 elsewhere."""

from collections.abc import Mapping
from typing import Any

import torch


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context that runs matrix products in bfloat16 where that is native.

    A CPU without bfloat16 instructions (before AVX512-BF16 and AMX) emulates them, and training then takes many times
    as long as in float32.

    Args:
        device: where the model is.

    Returns:
        `torch.autocast`, disabled on CPUs that would emulate, and on the meta device, for which torch has none
        (`vdmini_compress.footprint.Precision` stands in for it there).
    """
    kind = "cpu" if device.type == "meta" else device.type
    return torch.autocast(kind, torch.bfloat16, enabled=trains_in_bfloat16(device))


def trains_in_bfloat16(device: torch.device) -> bool:
    """Whether `mixed_precision` changes anything on a device."""
    return device.type not in ("cpu", "meta") or (device.type == "cpu" and computes_bfloat16(cpu_capabilities()))


def cpu_capabilities() -> Mapping[str, Any]:
    """What this CPU can do, by torch's names; empty where torch is too old to tell."""
    told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return told


def computes_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU with these capabilities (`torch.cpu.get_capabilities()`) multiplies bfloat16 itself.

    oneDNN's own "is bfloat16 supported" also says yes where AVX512 emulates it.
    """
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
