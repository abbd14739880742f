"""A model's folder: one on this machine, or one downloaded from the hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from vdmini_compress.importing.checkpoint import CheckpointError

SMALL_FILES = ["model_index.json", "LICENSE*", "*/*.json"]
HALF = "*/*.fp16.safetensors"
FULL = "*/*.safetensors"


def model_folder(model: str) -> tuple[Path, str | None]:
    """Find a model, or download it: the float16 weights where there are any, and never pickles.

    Args:
        model: a folder, or a hub id such as "stabilityai/stable-video-diffusion-img2vid".

    Returns:
        Its folder, and the revision where it is from the hub.

    Raises:
        CheckpointError: when there is neither, saying why and what to do.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder, None
    if folder.is_absolute() or model.startswith(".") or model.count("/") != 1:
        raise CheckpointError(f"{model} is neither a folder nor a hub id such as owner/name; check how it is written")
    try:
        found = Path(snapshot_download(model, allow_patterns=[*SMALL_FILES, HALF]))
        if not list(found.glob(HALF)):
            found = Path(snapshot_download(model, allow_patterns=[*SMALL_FILES, FULL]))
    except (OSError, HFValidationError) as error:
        raise CheckpointError(reason(error, model)) from error
    return found, found.name


def reason(error: Exception, model: str) -> str:
    """What an error of the hub means, and what to do about it."""
    if isinstance(error, GatedRepoError):
        return (
            f"{model} asks you to accept its licence: open its page on the hub, accept, then run `hf auth login` and "
            "this command again"
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return (
            f"{model} was not found on the hub, or is private: check how it is written; for a private one run "
            "`hf auth login` first"
        )
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled) or not isinstance(error, HfHubHTTPError):
        return (
            f"{model} is not on this machine, and the hub can't be reached ({type(error).__name__}): connect to the "
            "network and unset HF_HUB_OFFLINE, or download it elsewhere with `hf download` and give its folder"
        )
    return (
        f"the hub refused {model}: {str(error).strip().splitlines()[0]}; try again later, or give a folder as --model"
    )
