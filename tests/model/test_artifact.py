"""An artifact is whole, or it is refused with the name of what is wrong."""

import shutil
from pathlib import Path

import pytest

from vdmini.artifact import ArtifactError, read_manifest, replacing, verify, write_manifest
from vdmini.engine import load_engine


@pytest.fixture
def copy(teacher_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(teacher_folder, tmp_path / "artifact"))


def test_a_committed_teacher_is_whole_and_small(teacher_folder: Path) -> None:
    manifest = verify(teacher_folder)
    assert manifest.variant == "teacher"
    assert sum(path.stat().st_size for path in teacher_folder.rglob("*") if path.is_file()) <= 12e6


def test_one_flipped_byte_is_found_and_its_file_named(copy: Path) -> None:
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"unet/diffusion_pytorch_model.safetensors is damaged"):
        load_engine(copy)


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "vae" / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"vae/config.json is missing"):
        verify(copy)


def test_a_pickle_is_refused(copy: Path) -> None:
    (copy / "unet" / "extra.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactError, match=r"unet/extra.bin may hold pickled code"):
        verify(copy)


def test_a_file_that_nobody_listed_is_refused(copy: Path) -> None:
    (copy / "notes.txt").write_text("hello")
    with pytest.raises(ArtifactError, match=r"notes.txt is not listed"):
        verify(copy)


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 99}', "\xff"])
def test_a_damaged_manifest_is_named(copy: Path, content: str) -> None:
    (copy / "vdmini.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"vdmini.json is damaged or of another version"):
        read_manifest(copy)


def test_a_folder_that_is_no_artifact_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"vdmini-compress run"):
        verify(tmp_path)
    with pytest.raises(ArtifactError, match=r"is not a folder"):
        verify(tmp_path / "nowhere")


def test_writing_replaces_an_artifact_only_when_it_ends_well(copy: Path) -> None:
    before = verify(copy)

    def fail() -> None:
        with replacing(copy) as folder:
            (folder / "half").write_text("written")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert verify(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    with replacing(copy) as folder:
        (folder / "whole.txt").write_text("whole")
        write_manifest(folder, before)
    assert list(verify(copy).files) == ["whole.txt"]
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_writing_never_deletes_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    def overwrite() -> None:
        with replacing(tmp_path):
            pass

    with pytest.raises(ArtifactError, match="is no artifact"):
        overwrite()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
