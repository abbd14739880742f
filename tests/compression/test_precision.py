"""Mixed precision is on where the processor computes bfloat16 and off where it would emulate it."""

import torch

from vdmini_compress.precision import mixed_precision


def test_a_cpu_trains_in_bfloat16_only_where_that_is_native() -> None:
    with mixed_precision(torch.device("cpu")):
        made = torch.ones(2, 2) @ torch.ones(2, 2)
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert made.dtype == (torch.bfloat16 if native else torch.float32)
