"""Weights and inputs that follow from their names and shapes alone, whatever the version of torch or numpy.

A reference that was recorded with them needs no weights of its own: the test draws the same ones again. All values are
exact in float16, so that storing them in it loses nothing.
"""

import hashlib
import json
import lzma
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

TIMESTEP = 749
GUIDANCE_SCALE = 7.5
MOTION_GS = 0.05
PERCENTAGE = 0.5
STEPS = 4

UNET: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 3, 3],
    "num_head_channels": 16,
    "transformer_depth": 1,
    "context_dim": 24,
    "use_linear": True,
    "use_checkpoint": False,
    "temporal_conv": True,
    "temporal_attention": True,
    "temporal_selfatt_only": True,
    "use_relative_position": False,
    "use_causal_attention": False,
    "temporal_length": 3,
    "addition_attention": True,
    "fps_cond": True,
    "time_cond_proj_dim": 256,
    "motion_cond_proj_dim": 256,
}
"""The public U-Net's arguments, as in its configs/inference_t2v_512_v2.0.yaml but narrow."""

VAE: dict[str, Any] = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2, 2, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
"""The public autoencoder's `ddconfig`, narrow."""

TEXT: dict[str, Any] = {"context_length": 77, "vocab_size": 283, "width": 24, "heads": 2, "layers": 3}
"""OpenCLIP's text tower, narrow."""

SHAPES: dict[str, tuple[int, ...]] = {
    "latents": (1, 4, 3, 16, 8),
    "context": (1, 77, 24),
    "pixels": (2, 3, 32, 16),
    "vae latents": (2, 4, 4, 2),
    "tokens": (2, 77),
}
"""Inputs by name."""


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values in -1..1 [shape], float32 and exact in float16, by a hash of name and place."""
    seed = np.frombuffer(hashlib.sha256(name.encode()).digest()[:4], dtype="<u4")[0]
    mixed = np.arange(math.prod(shape), dtype=np.uint32) + seed
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    values = mixed.astype(np.float64) / 2**31 - 1
    return torch.from_numpy(values.astype(np.float16).astype(np.float32)).reshape(shape)


def drawn_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """A weight: norms near 1, biases near 0, matrices that neither grow nor shrink what they are given."""
    values = drawn(name, shape)
    if len(shape) < 2:
        return (0.1 * values + (1.0 if name.endswith("weight") else 0.0)).half().float()
    return (values * math.sqrt(3 / math.prod(shape[1:]))).half().float()


def given(name: str) -> Tensor:
    """An input by its name."""
    return drawn(name, SHAPES[name])


def published_keys() -> dict[str, dict[str, list[int]]]:
    """Prefix in a checkpoint -> key -> shape, of the public modules at the narrow sizes above."""
    found: dict[str, dict[str, list[int]]] = json.loads(
        lzma.decompress((Path(__file__).parent / "data" / "narrow_keys.json.xz").read_bytes())
    )
    return found


def drawn_state(keys: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights of a state dict."""
    return {key: drawn_weight(key, tuple(shape)) for key, shape in keys.items()}


def drawn_tokens() -> Tensor:
    """Token ids [2, 77] that end as a tokenizer's do: the end of the text, then zeros."""
    tokens = ((drawn("tokens", SHAPES["tokens"]) + 1) * 140 + 1).long()
    for row, length in enumerate((9, 77)):
        tokens[row, length - 1] = TEXT["vocab_size"] - 1
        tokens[row, length:] = 0
    return tokens
