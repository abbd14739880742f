"""Which precision to train in: bfloat16 where the processor computes it, float32 elsewhere."""

import torch


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context that runs matrix products in bfloat16 where that is native.

    A CPU without bfloat16 instructions (before AVX512-BF16 and AMX) emulates them, and training then takes many times
    as long as in float32.

    Args:
        device: where the model is.

    Returns:
        `torch.autocast`, disabled on CPUs that would emulate.
    """
    native = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=native)
