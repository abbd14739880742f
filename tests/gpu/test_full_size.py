"""Full-size models of random weights on a GPU: a step of the recipes fits 80 GB, as the dry run says."""

from pathlib import Path

import pytest
import torch
import train_step

GPU = torch.device("cuda:0")


@pytest.mark.parametrize("name", ["svd-i2v", "t2v-turbo-v2"])
def test_a_step_of_a_full_size_recipe_fits_80_gb_and_takes_what_was_told(root: Path, name: str) -> None:
    path = root / "compression/recipes" / f"{name}.yaml"
    asked = train_step.parse([str(path), "--steps", "2", "--device", "cuda:0"])
    row = train_step.measure(train_step.Subject.of(path, asked), GPU)
    assert row["step"]["reserved_bytes"] < 80e9
    assert row["decoder"]["peak_bytes"] < 80e9
    assert 0.75 < row["measured_over_estimated_memory"] < 1.25
