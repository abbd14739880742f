"""Where the stages of a diffusers U-Net end: families tap them there."""

from typing import Any


def stage_ends(unet: Any, attention: str) -> dict[str, str]:
    """Stage -> name of its last module.

    Args:
        unet: teacher or student.
        attention: name of the module list that ends a pair; "resnets" takes its place in stages without one.
    """
    ends = {}
    for index, block in enumerate(unet.down_blocks):
        ends[f"down {index}"] = _last(f"down_blocks.{index}", block, attention)
    for index, block in enumerate(unet.up_blocks):
        ends[f"up {len(unet.up_blocks) - 1 - index}"] = _last(f"up_blocks.{index}", block, attention)
    return ends


def _last(name: str, block: Any, attention: str) -> str:
    listed = attention if hasattr(block, attention) else "resnets"
    return f"{name}.{listed}.{len(getattr(block, listed)) - 1}"
