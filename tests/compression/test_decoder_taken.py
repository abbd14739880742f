"""A decoder that was compressed once serves every student of the same teacher, and no other."""

import copy
import shutil
from pathlib import Path

import pytest
import torch

from vdmini.artifact import ArtifactError
from vdmini.engine import Engine, load_engine
from vdmini_compress.decoder.job import DecoderJob, taken
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.job import Job
from vdmini_compress.recipe import load_recipe


@pytest.fixture(scope="module")
def teacher(root: Path) -> Engine:
    return load_engine(root / "compression/teachers/small-i2v", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def donor(root: Path) -> Path:
    """The committed student's decoder is compressed."""
    return root / "compression/artifacts/small-i2v"


def test_it_is_taken_over_and_measured(teacher: Engine, donor: Path, tmp_path: Path) -> None:
    settings = DecoderSettings(taken_from=donor, held_out=4)
    vae, measures = DecoderJob(teacher, settings, tmp_path / "work", seed=0, say=lambda _: None).run()
    given = load_engine(donor, device="cpu", dtype="float32").pipeline.vae.state_dict()
    assert all(torch.equal(value, given[name]) for name, value in vae.state_dict().items())
    assert measures.parameters["vdmini"] < measures.parameters["original"]
    assert measures.heal_seconds > 0
    assert measures.quality["all"].clips == 4
    assert measures.quality["all"].psnr_db["vdmini"] > measures.quality["all"].psnr_db["original"] - 1


def test_another_encoder_or_a_stock_or_damaged_decoder_is_refused(
    teacher: Engine, donor: Path, root: Path, tmp_path: Path
) -> None:
    other = copy.deepcopy(teacher.pipeline.vae)
    next(other.encoder.parameters()).data += 1
    with pytest.raises(ValueError, match="has another encoder; give an artifact that was made from this teacher"):
        taken(donor, other)
    with pytest.raises(ValueError, match=r"has the decoder of AutoencoderKL.*; give an artifact with a VDMini"):
        taken(root / "compression/teachers/small-i2v", teacher.pipeline.vae)
    shutil.copytree(donor, tmp_path / "damaged")
    (tmp_path / "damaged/vae/config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"config.json"):
        taken(tmp_path / "damaged", teacher.pipeline.vae)


def test_a_job_refuses_a_strangers_decoder_before_it_heals(root: Path, tmp_path: Path) -> None:
    changes = [f"decoder={{taken_from: {root / 'compression/teachers/small-i2v'}}}"]
    recipe = load_recipe(root / "compression/recipes/small-i2v.yaml", changes)
    with pytest.raises(ValueError, match="give an artifact with a VDMini"):
        Job(recipe, tmp_path / "out", lambda _: None).run()
    assert list(tmp_path.iterdir()) == []
