"""How weights are stored: float16, as safetensors."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Write a diffusers folder with float16 weights.

    Args:
        pipeline: any diffusers pipeline; its modules are float16 afterwards.
        folder: where to write.
    """
    for component in pipeline.components.values():
        if isinstance(component, nn.Module):
            nn.Module.to(component, dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    index = folder / "model_index.json"
    # Without torchvision transformers names its Pillow-only class, which its older versions don't know.
    index.write_text(index.read_text().replace('"CLIPImageProcessorPil"', '"CLIPImageProcessor"'))
    for config in (index, *folder.glob("*/config.json")):
        _forget_place(config)


def _forget_place(config: Path) -> None:
    """Diffusers notes where a part was loaded from, which tells of the maker's machine and nothing to a user."""
    said = json.loads(config.read_text())
    if said.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(said, indent=2) + "\n")
