"""Families: all that differs between teachers, one file each."""

from vdmini.families.base import Family, Inputs
from vdmini.families.svd import StableVideoDiffusion
from vdmini.families.videocrafter2 import VideoCrafter2

FAMILIES: dict[str, Family] = {family.name: family for family in (StableVideoDiffusion(), VideoCrafter2())}


def family_named(name: str) -> Family:
    """Look a family up.

    Raises:
        ValueError: naming the families there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"no family is named {name!r}; there are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]


__all__ = ["FAMILIES", "Family", "Inputs", "family_named"]
