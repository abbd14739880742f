"""Checking artifacts without loading them, for `vdmini-serve verify`. What is checked is left to `vdmini.artifact`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.models import artifact_folders, describe


def configured(settings: Settings) -> list[Path]:
    """The artifacts that a worker with these settings would serve."""
    return [*settings.artifacts, *artifact_folders(settings.artifacts_dir)]


def verify_all(folders: Sequence[Path]) -> Iterator[tuple[Path, str, bool]]:
    """Check one after the other; a damaged one doesn't keep the rest from being checked.

    Yields:
        Each folder, what is to say of it, and whether it is whole.
    """
    from vdmini.artifact import ArtifactError, verify, weight_bytes  # the API image has no model package

    names: dict[str, Path] = {}
    for folder in folders:
        try:
            model = describe(verify(folder))
        except (ArtifactError, OSError) as error:
            yield folder, str(error), False
            continue
        other = names.setdefault(model.name, folder)
        if other != folder:
            yield folder, f"it is named {model.name}, as is {other}; serve one", False
        else:
            yield folder, f"{model.name}, {model.task} {model.variant}, {weight_bytes(folder)} bytes of weights", True
