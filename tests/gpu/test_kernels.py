"""The kernels of fused blocks compute what torch does, in any shape, and a recorded pass is the pass."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vdmini.cuda_graphs import GraphedForward
from vdmini.fused_operators import add_branch, gated_gelu, group_norm

GPU = torch.device("cuda:0")


def frames_of(rows: int, channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator(GPU).manual_seed(0)
    draw: Any = lambda *shape: torch.randn(shape, device=GPU, generator=generator)  # noqa: E731
    made: Tensor = 3 * draw(rows, channels, height, width) * draw(1, channels, 1, 1) + 5 * draw(1, channels, 1, 1)
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(groups: int, channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, channels, eps=1e-6, device=GPU, dtype=torch.bfloat16).requires_grad_(False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("shift", [None, "bias", "embedding"])
@pytest.mark.parametrize(
    ("rows", "channels", "height", "width", "frames"),
    [
        (14, 128, 144, 256, 14),
        (14, 512, 72, 128, 1),
        (4, 320, 9, 13, 2),
        (2, 960, 5, 8, 1),
        (2, 2560, 5, 8, 2),
        (2, 32, 7, 7, 2),
    ],
)
def test_a_norm_is_torchs_with_bias_and_activation(
    rows: int, channels: int, height: int, width: int, frames: int, shift: str | None
) -> None:
    x, norm = frames_of(rows, channels, height, width, torch.bfloat16), norm_of(32, channels)
    added = {None: None, "bias": 1, "embedding": rows}[shift]
    shifts = None if added is None else torch.randn(added, channels, device=GPU, dtype=torch.bfloat16)
    moved = x.double() if shifts is None else x.double() + shifts.double()[:, :, None, None]
    clips = moved.unflatten(0, (-1, frames)).transpose(1, 2)
    right = torch.nn.functional.silu(norm.double()(clips)).transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        made = group_norm(x, norm.bfloat16(), frames=frames, shift=shifts, silu=True)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert float((made.double() - right).norm() / right.norm()) < 4e-3  # half a bfloat16's last place


@pytest.mark.parametrize("shares", [None, 1, 6])
def test_a_branch_is_added_with_its_bias_and_share(shares: int | None) -> None:
    x, branch = (frames_of(6, 64, 9, 11, torch.float32) for _ in range(2))
    bias, share = torch.randn(64, device=GPU), None if shares is None else torch.rand(shares, device=GPU)
    right = x + (branch + bias[:, None, None]) * (1 if share is None else share[:, None, None, None])
    with torch.no_grad():
        assert torch.allclose(add_branch(x, branch, bias, share), right, atol=1e-5)


@torch.inference_mode()
def test_a_recorded_pass_gives_new_results_for_new_input_and_for_other_shapes() -> None:
    layer = nn.Linear(8, 8, device=GPU)
    recorded = GraphedForward(layer.forward)
    for rows in (2, 3, 2, 4, 5, 6, 2):
        x = torch.randn(rows, 8, device=GPU)
        first = recorded(x)
        assert torch.equal(first, layer(x))
        recorded(torch.zeros_like(x))
        assert torch.equal(first, layer(x))


@torch.inference_mode()
def test_a_pass_that_waits_for_the_device_runs_as_it_is() -> None:
    recorded = GraphedForward(lambda x: x * x.sum().item())
    for value in (1.0, 2.0):
        x = torch.full((3,), value, device=GPU)
        assert torch.equal(recorded(x), x * 3 * value)


def test_a_gate_is_gelu() -> None:
    x = torch.randn(5, 7, 2 * 1100, device=GPU, dtype=torch.bfloat16)
    value, gate = x.double().chunk(2, dim=-1)
    right = value * torch.nn.functional.gelu(gate)
    with torch.no_grad():
        assert float((gated_gelu(x).double() - right).norm() / right.norm()) < 4e-3


def test_without_a_compiler_torchs_operators_do_and_the_log_says_so(tmp_path: Path) -> None:
    asks = """
import logging, torch
from vdmini.fused_operators import gated_gelu
logging.basicConfig()
x = torch.randn(3, 8, device="cuda:0")
with torch.inference_mode():
    made = gated_gelu(x)
value, gate = x.chunk(2, dim=-1)
assert torch.allclose(made, value * torch.nn.functional.gelu(gate))
"""
    environment = os.environ | {"CC": str(tmp_path / "none"), "TRITON_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=True)
    assert "Install a C compiler" in ran.stderr
