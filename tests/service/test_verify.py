"""`vdmini-serve verify`: what a pod's init container says of the artifacts on a volume."""

import shutil
from pathlib import Path

import pytest

from vdmini_serve.cli import main

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS, TEACHERS = ROOT / "compression" / "artifacts", ROOT / "compression" / "teachers"


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ARTIFACTS, tmp_path / "volume")
    monkeypatch.setenv("VDMINI_ARTIFACTS_DIR", str(tmp_path / "volume"))
    monkeypatch.delenv("VDMINI_ARTIFACTS", raising=False)
    return tmp_path / "volume"


def test_whole_artifacts_are_named(
    volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VDMINI_ARTIFACTS", str(TEACHERS / "small-i2v"))
    assert main(["verify"]) == 0
    told = capsys.readouterr()
    assert [line.split(",")[0] for line in told.out.splitlines()] == [
        "small-i2v: whole: small-i2v-teacher",
        "small-i2v: whole: small-i2v-vdmini",
        "small-t2v: whole: small-t2v-vdmini",
    ]
    assert not told.err


def test_a_damaged_artifact_is_refused_by_name_and_the_rest_is_checked_all_the_same(
    volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = volume / "small-i2v" / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert main(["verify"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("small-t2v: whole:")
    assert "small-i2v: REFUSED:" in told.err
    assert "unet/diffusion_pytorch_model.safetensors is damaged" in told.err
    assert "1 of 2 artifacts are refused" in told.err


def test_two_artifacts_of_one_name_are_refused(volume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(volume / "small-i2v", volume / "again")
    assert main(["verify"]) == 1
    assert "is named small-i2v-vdmini, as is" in capsys.readouterr().err


def test_an_artifact_that_is_being_written_is_passed_over(volume: Path) -> None:
    half = volume / ".small-i2v.x7"
    half.mkdir()
    shutil.copy(volume / "small-i2v" / "vdmini.json", half)
    assert main(["verify"]) == 0


def test_folders_can_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["verify", str(ARTIFACTS / "small-t2v"), str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "small-t2v-vdmini, t2v vdmini," in told.out
    assert "has no vdmini.json" in told.err


def test_nothing_to_verify_is_an_error(
    volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VDMINI_ARTIFACTS_DIR")
    assert main(["verify"]) == 1
    assert "no artifact to verify" in capsys.readouterr().err
