"""Mixed precision is on where the processor computes bfloat16 and off where it would emulate it."""

import pytest
import torch

from vdmini_compress.precision import computes_bfloat16, mixed_precision


def test_products_are_bfloat16_only_where_the_processor_computes_it() -> None:
    native = computes_bfloat16(torch.cpu.get_capabilities())
    with mixed_precision(torch.device("cpu")):
        made = torch.ones(2, 2) @ torch.ones(2, 2)
    assert made.dtype == (torch.bfloat16 if native else torch.float32)


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"avx2": True}, False),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_avx512_alone_only_emulates(capabilities: dict[str, bool], native: bool) -> None:
    assert computes_bfloat16(capabilities) == native
