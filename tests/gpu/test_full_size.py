"""Full-size models of random weights on a GPU: a step of the recipes fits 80 GB, as the dry run says."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

GPU = torch.device("cuda:0")


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "benchmarks"))
    spec = importlib.util.spec_from_file_location("train_step", root / "benchmarks/train_step.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["train_step"] = made
    spec.loader.exec_module(made)
    return made


def asked(script: ModuleType, path: Path) -> argparse.Namespace:
    return script.parse([str(path), "--steps", "2", "--device", "cuda:0"])


@pytest.mark.parametrize("name", ["svd-i2v", "t2v-turbo-v2"])
def test_a_step_of_a_full_size_recipe_fits_80_gb_and_takes_what_was_told(
    root: Path, script: ModuleType, name: str
) -> None:
    path = root / "compression/recipes" / f"{name}.yaml"
    row = script.measure(script.Subject.of(path, asked(script, path)), GPU)
    assert row["step"]["reserved_bytes"] < 80e9
    assert row["decoder"]["peak_bytes"] < 80e9
    assert 0.75 < row["measured_over_estimated_memory"] < 1.25
