"""What a worker notes of a GPU's memory."""

import torch

from vdmini_serve.worker.gpu_memory import MemoryPeaks

GPU = torch.device("cuda:0")


def test_the_highest_peak_of_each_model_is_kept() -> None:
    peaks = MemoryPeaks()
    before = torch.cuda.memory_allocated(GPU)
    for name, mebibytes in (("large", 256), ("small", 8), ("large", 16)):
        with peaks.watching(name, GPU):
            held = torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=GPU)
            del held
    told = peaks.told()
    assert 256 * 2**20 <= told["large"] - before < 300 * 2**20
    assert 8 * 2**20 <= told["small"] - before < 16 * 2**20


def test_a_model_that_fails_is_noted_too() -> None:
    peaks = MemoryPeaks()
    try:
        with peaks.watching("broken", GPU):
            held = torch.empty(32 * 2**20, dtype=torch.uint8, device=GPU)
            raise RuntimeError(len(held))
    except RuntimeError:
        pass
    assert peaks.told()["broken"] >= 32 * 2**20
