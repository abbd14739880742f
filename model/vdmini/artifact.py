"""An artifact: a diffusers pipeline folder, its `vdmini.json`, and the hashes that prove it whole.

It leaves running a model to `vdmini.engine`. It imports neither torch nor diffusers.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from vdmini.manifest import FILE_NAME, Manifest

WEIGHT_SUFFIX = ".safetensors"
FORBIDDEN_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


class ArtifactError(Exception):
    """An artifact that cannot be used; the message names the file and what to do."""


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_sha256(folder: Path) -> str:
    """One hash over all weight files below a folder, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*" + WEIGHT_SUFFIX)):
        digest.update(path.relative_to(folder).as_posix().encode() + bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def weight_bytes(folder: Path) -> int:
    """Bytes of all weight files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*" + WEIGHT_SUFFIX))


def _content(folder: Path) -> dict[str, Path]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {p.relative_to(folder).as_posix(): p for p in files if p.name != FILE_NAME}


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder` that takes its place when the block ends well, and vanishes otherwise.

    Args:
        folder: the final place; an artifact that is there already is replaced, anything else is refused.

    Yields:
        The folder to write into.

    Raises:
        ArtifactError: when `folder` exists, isn't empty and isn't an artifact.
    """
    refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        retired = partial.with_name(partial.name + ".old")
        if folder.exists():
            os.replace(folder, retired)
        os.replace(partial, folder)
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_foreign(folder: Path) -> None:
    """Raise `ArtifactError` when writing an artifact to `folder` would delete something that isn't one."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / FILE_NAME).exists())):
        raise ArtifactError(f"{folder} exists and is no artifact; give another --output or remove it first")


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file below `folder` and write `vdmini.json`.

    Returns:
        The manifest with its hashes.
    """
    hashes = {name: sha256_of(path) for name, path in _content(folder).items()}
    complete = manifest.model_copy(update={"files": hashes})
    (folder / FILE_NAME).write_text(complete.model_dump_json(indent=2) + "\n")
    return complete


def read_manifest(folder: Path) -> Manifest:
    """Read `vdmini.json`.

    Raises:
        ArtifactError: when the folder or the file is missing, or the file isn't a manifest of this version.
    """
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} is not a folder; give the folder of an artifact (`vdmini-compress import` makes a "
            "teacher of published weights)"
        )
    if not path.is_file():
        raise ArtifactError(f"{folder} has no {FILE_NAME}; make an artifact with `vdmini-compress run`")
    try:
        return Manifest.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged or of another version: {error}; copy the artifact again") from error


def verify(folder: Path) -> Manifest:
    """Check an artifact's every file against its hash.

    Returns:
        The manifest.

    Raises:
        ArtifactError: naming the first file that is missing, damaged, unknown or a pickle.
    """
    manifest = read_manifest(folder)
    present = _content(folder)
    for name, expected in manifest.files.items():
        if name not in present:
            raise ArtifactError(f"{folder}: file {name} is missing; copy the artifact again")
        if sha256_of(present[name]) != expected:
            raise ArtifactError(f"{folder}: file {name} is damaged (its sha256 differs); copy the artifact again")
    for name in present:
        if name.endswith(FORBIDDEN_SUFFIXES):
            raise ArtifactError(f"{folder}: file {name} may hold pickled code; artifacts hold safetensors only")
        if name not in manifest.files:
            raise ArtifactError(f"{folder}: file {name} is not listed in {FILE_NAME}; remove it")
    return manifest


def pipeline_index(folder: Path) -> dict[str, object]:
    """The content of diffusers' `model_index.json`."""
    path = folder / "model_index.json"
    try:
        index: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is missing or damaged; copy the artifact again") from error
    return index
