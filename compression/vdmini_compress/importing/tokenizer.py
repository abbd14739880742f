"""CLIP's tokenizer as OpenCLIP uses it. Its vocabulary is in no checkpoint."""

from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from vdmini_compress.importing.checkpoint import CheckpointError

TOKENIZER = "openai/clip-vit-large-patch14"
"""Where CLIP's vocabulary is taken from by default: OpenCLIP's ViT-H/14 has the same one."""

PAD_TOKEN = "!"  # noqa: S105 - a token of text
"""Number 0: OpenCLIP fills sentences up with zeros, and the text encoder sees them."""


def load_tokenizer(where: str, *, vocab_size: int, length: int) -> Any:
    """Load a tokenizer and make it pad as OpenCLIP does.

    Args:
        where: a folder with vocab.json and merges.txt or tokenizer.json, or a model folder with one in `tokenizer`,
            or a hub id.
        vocab_size: what the text encoder has room for.
        length: tokens that a sentence is filled up or cut to.

    Raises:
        CheckpointError: when it can't be had, or is another one.
    """
    tokenizer = _found(where, length)
    if tokenizer is None:
        raise CheckpointError(
            f"no tokenizer was found at {where!r}, and the checkpoint holds none. Connect to the network once, or copy "
            f"vocab.json and merges.txt of {TOKENIZER} into a folder and give it with --tokenizer FOLDER"
        )
    if len(tokenizer) != vocab_size or tokenizer.convert_tokens_to_ids(PAD_TOKEN) != 0:
        raise CheckpointError(
            f"the tokenizer at {where!r} has {len(tokenizer)} tokens, and number 0 is "
            f"{tokenizer.convert_ids_to_tokens(0)!r}; CLIP's has {vocab_size}, and number 0 is {PAD_TOKEN!r}. "
            f"Give --tokenizer {TOKENIZER}, or a folder with its files"
        )
    tokenizer.pad_token = PAD_TOKEN
    return tokenizer


def _found(where: str, length: int) -> Any | None:
    folder = Path(where)
    inner = folder / "tokenizer"
    place = str(inner) if inner.is_dir() else where
    try:
        tokenizer = CLIPTokenizer.from_pretrained(place, model_max_length=length)
    except (OSError, ValueError, TypeError):  # transformers says each of them when a file is missing
        return None
    # transformers 5 makes a tokenizer that knows its special tokens only where it finds no vocabulary.
    return tokenizer if len(tokenizer) > len(tokenizer.all_special_ids) else None
