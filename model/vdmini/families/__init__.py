"""Families: all that differs between teachers, one file each.

Importing it loads none of them, so that their names can be told without torch.
"""

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from vdmini.families.base import Family

_CLASSES = {
    "svd": "StableVideoDiffusion",
    "videocrafter2": "VideoCrafter2",
    "modelscope": "ModelScope",
}
"""Name of a family, which is its module's -> the class in it."""

FAMILY_NAMES = tuple(_CLASSES)
"""The families there are."""


@lru_cache(maxsize=len(_CLASSES))
def family_named(name: str) -> "Family":
    """Look a family up.

    Raises:
        ValueError: naming the families there are.
    """
    if name not in _CLASSES:
        raise ValueError(f"no family is named {name!r}; there are {', '.join(FAMILY_NAMES)}")
    module = import_module(f"vdmini.families.{name}")
    return cast("Family", getattr(module, _CLASSES[name])())


def families() -> "Iterator[Family]":
    """All families; this loads them."""
    return map(family_named, FAMILY_NAMES)


def family_of(unet_class: type) -> "Family":
    """The family whose teachers or students have U-Nets of a class, or else of the nearest class it descends from.

    Raises:
        TypeError: naming the classes of teachers' U-Nets.
    """
    for parent in unet_class.__mro__:
        for family in families():
            if parent in (family.unet_class, family.student_class):
                return family
    known = ", ".join(family.unet_class.__name__ for family in families())
    raise TypeError(f"{unet_class.__name__} is no family's U-Net; teachers are of class {known}")


__all__ = ["FAMILY_NAMES", "families", "family_named", "family_of"]
