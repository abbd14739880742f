"""The names of VideoCrafter2's U-Net in its published code, beside those of `UNet3DFpsConditionModel`.

Published blocks are counted through: `input_blocks` and `output_blocks` hold, level after level, each level's pairs,
then its down-sampler; an up-sampler lies in the last pair of its level. A block's children are numbered, too.
"""

import re
from collections.abc import Mapping
from typing import Any

from vdmini_compress.importing.checkpoint import Slot

CHILDREN = {"resnets": "0", "temp_convs": "0.temopral_conv", "attentions": "1", "temp_attentions": "2"}
"""A pair's part -> its place in a published block; the misspelling is theirs."""

MIDDLE = {
    "resnets.0": "0",
    "temp_convs.0": "0.temopral_conv",
    "attentions.0": "1",
    "temp_attentions.0": "2",
    "resnets.1": "3",
    "temp_convs.1": "3.temopral_conv",
}

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_cond_proj",
    "time_embedding.fps_embedding.linear_1": "fps_embedding.0",
    "time_embedding.fps_embedding.linear_2": "fps_embedding.2",
    "time_embedding.motion_cond_proj": "motion_cond_proj",
    "time_embedding.combine_proj": "combine_proj",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
"""What belongs to no stage."""

CONVOLUTIONS = ("init_attn.0.proj_in.weight", "init_attn.0.proj_out.weight")
"""Published as Conv1d of width 1; diffusers has the same numbers in linear layers, without the last axis."""


def unet_slots(unet: Any) -> dict[str, Slot]:
    """Where each key of a published U-Net goes.

    Args:
        unet: a `UNet3DFpsConditionModel` of the same architecture, on any device.

    Returns:
        Published key -> slot, one for every weight of `unet`.
    """
    slots = {}
    for name, weight in unet.state_dict().items():
        key, shape = published_name(name, unet.config), tuple(weight.shape)
        slots[key] = Slot(name, shape, (*shape, 1) if key in CONVOLUTIONS else shape)
    return slots


def published_name(name: str, config: Mapping[str, Any]) -> str:
    """The published name of one of our weights.

    Args:
        name: such as "down_blocks.0.resnets.1.conv1.weight".
        config: the U-Net's.
    """
    head, _, kind = name.rpartition(".")
    if head in OUTSIDE:
        return f"{OUTSIDE[head]}.{kind}"
    if name.startswith("transformer_in."):
        return name.replace("transformer_in", "init_attn.0", 1)
    if name.startswith("mid_block."):
        _, part, index, rest = name.split(".", 3)
        return f"middle_block.{MIDDLE[f'{part}.{index}']}.{_inside(part, rest)}"
    return _staged_name(name, config)


def _staged_name(name: str, config: Mapping[str, Any]) -> str:
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    if found is None:
        raise ValueError(f"{name} is not a weight of UNet3DFpsConditionModel")
    side, stage, part, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    layers = int(config["layers_per_block"])
    block = stage * (layers + 1) + (side == "down")
    where = "input_blocks" if side == "down" else "output_blocks"
    if part == "downsamplers":
        return f"{where}.{block + layers}.0.{rest.replace('conv', 'op', 1)}"
    if part == "upsamplers":
        child = 3 if "CrossAttn" in config["up_block_types"][stage] else 1
        return f"{where}.{block + layers}.{child}.{rest}"
    return f"{where}.{block + index}.{CHILDREN[part]}.{_inside(part, rest)}"


def _inside(part: str, rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{RESNET[layer]}.{kind}" if part == "resnets" else rest
