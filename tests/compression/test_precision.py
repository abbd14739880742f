"""Mixed precision is off on CPUs, where it is slow or its gradients are wrong."""

import pytest
import torch

from vdmini_compress.precision import mixed_precision, trains_in_bfloat16


def test_products_stay_float32_on_a_cpu() -> None:
    with mixed_precision(torch.device("cpu")):
        made = torch.ones(2, 2) @ torch.ones(2, 2)
    assert made.dtype == torch.float32


@pytest.mark.parametrize(("kind", "mixed"), [("cuda", True), ("cpu", False), ("meta", False)])
def test_only_accelerators_train_in_bfloat16(kind: str, mixed: bool) -> None:
    assert trains_in_bfloat16(torch.device(kind)) == mixed


@pytest.mark.parametrize("channels", [(64, 32), (48, 32), (64, 16)])
def test_the_gradients_that_bfloat16_gets_wrong_are_right(channels: tuple[int, int]) -> None:
    """Where they were wrong they were not finite, or the process died."""
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(*channels, (3, 1, 1), padding=(1, 0, 0)).to(memory_format=torch.channels_last_3d)
    clip_BCFHW = torch.randn(1, channels[0], 3, 64, 64).contiguous(memory_format=torch.channels_last_3d)
    weights = list(conv.parameters())
    with mixed_precision(torch.device("cpu")):
        found = torch.autograd.grad(conv(clip_BCFHW).float().square().mean(), weights)
    exact = torch.autograd.grad(conv.double()(clip_BCFHW.double()).square().mean(), weights)
    for made, right in zip(found, exact, strict=True):
        assert (made.double() - right).norm() < 1e-4 * right.norm()
