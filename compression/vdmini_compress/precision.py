"""Which precision to train in: bfloat16 on accelerators, float32 on CPUs."""

import torch


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context that runs matrix products in bfloat16 on an accelerator.

    A CPU without bfloat16 instructions emulates them, many times slower than float32. One with them gets gradients
    wrong: with oneDNN 3.12 (torch 2.13) those of some convolutions' weights were not finite on AVX512-BF16, and on AMX
    others overwrote the heap.

    Args:
        device: where the model is.

    Returns:
        `torch.autocast`, disabled on CPUs and on the meta device, for which torch has none
        (`vdmini_compress.footprint.Precision` stands in for it there).
    """
    kind = "cpu" if device.type == "meta" else device.type
    return torch.autocast(kind, torch.bfloat16, enabled=trains_in_bfloat16(device))


def trains_in_bfloat16(device: torch.device) -> bool:
    """Whether `mixed_precision` changes anything on a device."""
    return device.type not in ("cpu", "meta")
