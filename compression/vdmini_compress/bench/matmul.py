"""How fast a device multiplies large matrices: the yardstick that a model's operations per second are held against."""

import statistics
import time

import torch

SIZES = {"cpu": 2048, "cuda": 8192}
"""Rows and columns, by device: large enough that nothing but the multiplication counts."""

RUNS = 10


@torch.inference_mode()
def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a large square matrix product, the median of `RUNS`.

    Args:
        device: where.
        dtype: of the matrices.
    """
    size = SIZES.get(device.type, SIZES["cpu"])
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = [_seconds(left, right) for _ in range(RUNS + 2)][2:]
    return 2 * size**3 / statistics.median(seconds)


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    if left.device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.matmul(left, right)
        end.record()
        torch.cuda.synchronize(left.device)
        seconds: float = start.elapsed_time(end) / 1000
        return seconds
    begin = time.perf_counter()
    torch.matmul(left, right)
    return time.perf_counter() - begin
