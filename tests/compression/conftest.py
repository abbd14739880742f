"""Narrow copies of the published checkpoints, with weights that follow from their keys."""

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from vdmini.manifest import Manifest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Published:
    """Files as they are downloaded, and what is in them.

    Args:
        folder: where they lie, and room for what is made of them.
        checkpoint: as VideoCrafter2's model.ckpt.
        unet: as T2V-Turbo-v2's unet_mg.pt.
        tokenizer: a folder with a tokenizer.
        state: of `checkpoint`.
        unet_state: of `unet`.
    """

    folder: Path
    checkpoint: Path
    unet: Path
    tokenizer: Path
    state: "dict[str, Tensor]"
    unet_state: "dict[str, Tensor]"


@pytest.fixture(scope="session")
def public_weights() -> Any:
    """The module that the recording script draws its weights with, too."""
    sys.path.insert(0, str(HERE))
    try:
        return import_module("public_weights")
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def narrow(public_weights: Any) -> Any:
    """The architecture of the narrow copies."""
    from vdmini_compress.importing.videocrafter2 import Architecture

    unet, vae, text = public_weights.UNET, public_weights.VAE, public_weights.TEXT
    blocks = ("DownEncoderBlock2D", "UpDecoderBlock2D")
    return Architecture(
        unet={
            "block_out_channels": [unet["model_channels"] * times for times in unet["channel_mult"]],
            "cross_attention_dim": unet["context_dim"],
            "attention_head_dim": unet["num_head_channels"],
        },
        vae={
            "block_out_channels": [vae["ch"] * times for times in vae["ch_mult"]],
            "down_block_types": blocks[:1] * 4,
            "up_block_types": blocks[1:] * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "scaling_factor": 0.18215,
        },
        text={
            "vocab_size": text["vocab_size"],
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"] - 1,
            "num_attention_heads": text["heads"],
            "hidden_act": "gelu",
            "bos_token_id": text["vocab_size"] - 2,
            "eos_token_id": text["vocab_size"] - 1,
            "pad_token_id": 0,
        },
        width=64,
        height=128,
        num_frames=3,
    )


@pytest.fixture(scope="session")
def published(public_weights: Any, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Both files: the checkpoint's own U-Net is VideoCrafter2's, without guidance and motion inputs."""
    import torch

    from vdmini_compress.teachers.words import build_tokenizer

    folder = tmp_path_factory.mktemp("published")
    state, unet_state = {"betas": torch.zeros(4), "scale_arr": torch.ones(4)}, {}
    for prefix, keys in public_weights.published_keys().items():
        drawn = public_weights.drawn_state(keys)
        if prefix == "model.diffusion_model.":
            unet_state = drawn
            added = ("time_cond_proj", "motion_cond_proj", "combine_proj")
            drawn = {key: value for key, value in drawn.items() if not key.startswith(added)}
        state |= {prefix + key: value for key, value in drawn.items()}
    torch.save({"state_dict": state}, folder / "model.ckpt")
    torch.save(unet_state, folder / "unet_mg.pt")
    build_tokenizer().save_pretrained(folder / "tokenizer")
    return Published(folder, folder / "model.ckpt", folder / "unet_mg.pt", folder / "tokenizer", state, unet_state)


@pytest.fixture(scope="session")
def imported(published: Published, narrow: Any) -> "tuple[Path, Manifest]":
    """What the two files become: a teacher's folder and its manifest."""
    from vdmini_compress.importing.videocrafter2 import import_videocrafter2

    output = published.folder / "teacher"
    manifest = import_videocrafter2(
        published.checkpoint, output, unet=published.unet, tokenizer=str(published.tokenizer), architecture=narrow
    )
    return output, manifest
