"""The lessons that make deep stages carry motion."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from vdmini.engine import load_engine
from vdmini_compress.image_batch import SIGMA_MAX
from vdmini_compress.taps import tapped
from vdmini_compress.teachers.readout import PathReadout, still_outside


def test_the_path_readout_is_content_with_features_that_hold_the_path_and_not_with_others() -> None:
    path = 14 * torch.randn(16, 8, 2, generator=torch.Generator().manual_seed(0))
    reader = PathReadout((4, 4, 4, 4), 2)
    told = torch.zeros(16 * 8, 4, 2, 2)
    told[:, :2] = path.flatten(0, 1)[:, :, None, None] / 100
    told[:, 2:] = torch.tensor([1.0, -1.0])[:, None, None]
    optimizer = torch.optim.Adam(reader.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        reader.loss({"mid_block": told}, path).backward()
        optimizer.step()
    blind = reader.loss({"mid_block": torch.zeros_like(told)}, path)
    assert reader.loss({"mid_block": told}, path) < 0.05 * blind


@pytest.fixture(scope="module")
def unet(root: Any) -> Any:
    return load_engine(root / "compression/teachers/small-i2v", device="cpu", dtype="float32").pipeline.unet


def features(unet: Any, sample_BFCHW: Tensor) -> dict[str, Tensor]:
    names = {"outer": "down_blocks.0", "inner": "down_blocks.1"}
    level = 0.25 * torch.tensor(SIGMA_MAX).log()
    with torch.no_grad(), tapped(unet, names) as made:
        unet(sample_BFCHW, level, torch.ones(1, 1, 32), added_time_ids=torch.tensor([[6.0, 200.0, 0.02]]))
    return {name: made[name].clone() for name in names}


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Two inputs that differ in the last frame alone."""
    sample = torch.randn(1, 8, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    other = sample.clone()
    other[:, -1] += 1
    return sample, other


def test_outer_stages_see_single_frames_while_inner_ones_see_time(unet: Any, pair: tuple[Tensor, Tensor]) -> None:
    with still_outside(unet, 1):
        one, other = (features(unet, sample) for sample in pair)
    assert torch.equal(one["outer"][:-1], other["outer"][:-1])
    assert not torch.equal(one["outer"][-1], other["outer"][-1])
    assert not torch.equal(one["inner"][:-1], other["inner"][:-1])
    with still_outside(unet, 2):
        one, other = (features(unet, sample) for sample in pair)
    assert torch.equal(one["inner"][:-1], other["inner"][:-1])


def test_other_threads_and_later_passes_see_time_everywhere(unet: Any, pair: tuple[Tensor, Tensor]) -> None:
    before, found = features(unet, pair[0]), []
    with still_outside(unet, 3):
        thread = threading.Thread(target=lambda: found.append(features(unet, pair[0])))
        thread.start()
        thread.join()
        assert not torch.equal(features(unet, pair[0])["outer"], before["outer"])
    found.append(features(unet, pair[0]))
    assert all(torch.equal(one["outer"], before["outer"]) for one in found)
