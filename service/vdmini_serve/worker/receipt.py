"""A model's receipt out of its artifact's folder; needs no torch. Publishing it is left to `worker.store`."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vdmini_serve.contract.receipt import Importance, Receipt, UNetShape, bounded

if TYPE_CHECKING:
    from vdmini.manifest import Manifest

log = logging.getLogger(__name__)
IMPORTANCE_FILE = "importance.json"
MOST_IMPORTANCE_BYTES = 4 * 2**20
"""A longer file is no list of a model's blocks."""


def read_receipt(folder: Path) -> Receipt:
    """The receipt of an artifact.

    Raises:
        vdmini.artifact.ArtifactError: when it has no readable manifest.
    """
    from vdmini.artifact import read_manifest  # the API image has no model package

    manifest = read_manifest(folder)
    return bounded(
        Receipt(
            name=manifest.name,
            recipe=manifest.recipe,
            training=manifest.training,
            unet=_shape(folder / "unet" / "config.json", manifest),
            importance=_importance(folder / IMPORTANCE_FILE),
            files=manifest.files,
        )
    )


def receipts_of(folders: Sequence[Path]) -> list[Receipt]:
    """The receipts of artifacts; one whose folder has just gone has none."""
    from vdmini.artifact import ArtifactError

    found = []
    for folder in folders:
        try:
            found.append(read_receipt(folder))
        except (ArtifactError, OSError) as error:
            log.warning("no receipt of %s: %s", folder.name, error)
    return found


def _shape(path: Path, manifest: "Manifest") -> UNetShape | None:
    if not path.is_file():
        return None  # a family without a U-Net
    try:
        config = json.loads(path.read_text())
        return UNetShape(widths=config["block_out_channels"], pairs=teacher_pairs(config, manifest.removed_blocks))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("no picture of %s: its U-Net's config tells no shape (%r)", manifest.name, error)
        return None


def teacher_pairs(config: Mapping[str, Any], removed: tuple[str, ...]) -> tuple[int, ...]:
    """R-A pairs of each Down stage of the teacher.

    A student that stock diffusers can load counts its own pairs only: those that were removed are added again.
    """
    from vdmini.plan import layers_of

    own = layers_of(config)
    if "removed_blocks" in config:
        return own
    gone = [sum(name.startswith(f"down_blocks.{stage}.resnets.") for name in removed) for stage in range(len(own))]
    return tuple(kept + more for kept, more in zip(own, gone, strict=True))


def _importance(path: Path) -> Importance | None:
    try:
        if not path.is_file() or path.stat().st_size > MOST_IMPORTANCE_BYTES:
            return None
        return Importance.model_validate_json(path.read_text())
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        log.warning("%s is not shown: %s", path, error)
        return None
