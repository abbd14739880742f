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
    forget_places(folder)


PLACES = ("_name_or_path", "name_or_path")


def forget_places(folder: Path) -> None:
    """Take out of a diffusers folder where its parts were loaded from.

    It tells of the maker's machine, and a user nothing.

    Args:
        folder: the folder; its configs are rewritten where they say it.
    """
    for config in (folder / "model_index.json", *folder.glob("*/*config.json")):
        said = json.loads(config.read_text())
        kept = {key: value for key, value in said.items() if key not in PLACES or value is None}
        if kept != said:
            config.write_text(json.dumps(kept, indent=2) + "\n")
