"""Mixed precision is on where the processor computes bfloat16, and a switched-off one changes nothing."""

import torch

from vdmini_compress.precision import mixed_precision


def test_a_cpu_trains_in_bfloat16_only_where_that_is_native() -> None:
    with mixed_precision(torch.device("cpu")):
        made = torch.ones(2, 2) @ torch.ones(2, 2)
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert made.dtype == (torch.bfloat16 if native else torch.float32)


def test_a_gpu_always_trains_in_bfloat16() -> None:
    assert mixed_precision(torch.device("cuda")).device == "cuda"
    assert mixed_precision(torch.device("cuda")).fast_dtype == torch.bfloat16
