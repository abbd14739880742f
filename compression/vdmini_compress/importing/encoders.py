"""VideoCrafter2's two encoders in diffusers' and transformers' names: its VAE, and OpenCLIP's text tower.

The renaming is diffusers' own (`single_file_utils`); here every key is held against what the architectures have.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_open_clip_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from vdmini_compress.importing.checkpoint import Slot, place

BLOCK = "transformer.resblocks."

SPARE_TEXT_KEYS = ("logit_scale", "text_projection", "attn_mask")
"""Of OpenCLIP's text tower, but used for comparing sentences with pictures only; the mask is the causal one."""


def place_vae(state: Mapping[str, Tensor], vae: Any) -> dict[str, Tensor]:
    """The VAE's weights by diffusers' names.

    Args:
        state: Stable Diffusion's keys -> tensors, such as "decoder.conv_in.weight".
        vae: an `AutoencoderKL` of the same architecture, on any device.

    Raises:
        vdmini_compress.importing.checkpoint.CheckpointError: see `place`.
    """
    keys = list(state)
    # diffusers' converter moves tensors it doesn't look into: numbered ones come out telling which key went where.
    numbered = {key: torch.tensor([index]) for index, key in enumerate(keys)}
    sources = {name: keys[int(number)] for name, number in convert_ldm_vae_checkpoint(numbered, vae.config).items()}
    slots = {}
    for name, weight in vae.state_dict().items():
        shape = tuple(weight.shape)
        key = sources.get(name, f"{name} (as diffusers names it)")
        convolution = key in state and state[key].shape == (*shape, 1, 1)  # attention, written as one in older code
        slots[key] = Slot(name, shape, (*shape, 1, 1) if convolution else shape)
    return place(state, slots, "the VAE (first_stage_model)")


def empty_text_encoder(config: CLIPTextConfig) -> Any:
    """A text encoder on the meta device: shapes, but no memory."""
    with torch.device("meta"):
        return CLIPTextModel(config).to("meta")


def place_text_encoder(state: Mapping[str, Tensor], config: CLIPTextConfig) -> dict[str, Tensor]:
    """The text tower's weights by transformers' names, without its last block.

    VideoCrafter2 takes the features before the last block, and normalises them as the last ones. A tower without that
    block ends there by itself, as Stable Diffusion 2's does.

    Args:
        state: OpenCLIP's keys -> tensors, such as "transformer.resblocks.0.ln_1.weight".
        config: of the encoder, with one layer less than `state` has.

    Raises:
        vdmini_compress.importing.checkpoint.CheckpointError: see `place`.
    """
    last = f"{BLOCK}{config.num_hidden_layers}."
    shapes = {key: shape for key, shape in text_shapes(config).items() if key not in SPARE_TEXT_KEYS}
    slots = {key: Slot(key, shape, shape) for key, shape in shapes.items()}
    kept = place(
        {key: value for key, value in state.items() if key not in SPARE_TEXT_KEYS},
        slots,
        "the text encoder (cond_stage_model.model)",
    )
    kept = {key: value for key, value in kept.items() if not key.startswith(last)}
    made: dict[str, Tensor] = convert_open_clip_checkpoint(empty_text_encoder(config), kept, prefix="")
    return made


def text_shapes(config: CLIPTextConfig) -> dict[str, tuple[int, ...]]:
    """OpenCLIP's keys -> shapes, the block that isn't taken over included."""
    width, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (config.vocab_size, width),
        "positional_embedding": (config.max_position_embeddings, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    for index in range(config.num_hidden_layers + 1):
        block = f"{BLOCK}{index}."
        shapes |= {block + "attn.in_proj_weight": (3 * width, width), block + "attn.in_proj_bias": (3 * width,)}
        for layer, shape in (
            ("attn.out_proj", (width, width)),
            ("mlp.c_fc", (inner, width)),
            ("mlp.c_proj", (width, inner)),
            ("ln_1", (width,)),
            ("ln_2", (width,)),
        ):
            shapes |= {f"{block}{layer}.weight": shape, f"{block}{layer}.bias": shape[:1]}
    return shapes
