"""What a VDMini is: plans, students, their costs and their artifacts.

Importing it imports neither torch nor diffusers: names that need them are looked up when first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vdmini.plan import PlanError, PruningPlan

if TYPE_CHECKING:
    from diffusers import ModelMixin

    from vdmini.small_decoder import VDMiniAutoencoderKL, VDMiniAutoencoderKLTemporalDecoder
    from vdmini.student import (
        VDMiniUNet3D,
        VDMiniUNet3DCondition,
        VDMiniUNetSpatioTemporal,
        build_student,
        kept_names,
    )
    from vdmini.unet3d_fps import UNet3DFpsConditionModel

__all__ = [
    "ModelMixin",
    "PlanError",
    "PruningPlan",
    "UNet3DFpsConditionModel",
    "VDMiniAutoencoderKL",
    "VDMiniAutoencoderKLTemporalDecoder",
    "VDMiniUNet3D",
    "VDMiniUNet3DCondition",
    "VDMiniUNetSpatioTemporal",
    "build_student",
    "kept_names",
]

_HOMES = {
    "ModelMixin": "diffusers",  # diffusers' pipeline loader looks for the base class beside the class it loads
    "UNet3DFpsConditionModel": "vdmini.unet3d_fps",
    "VDMiniAutoencoderKL": "vdmini.small_decoder",
    "VDMiniAutoencoderKLTemporalDecoder": "vdmini.small_decoder",
    "VDMiniUNet3D": "vdmini.student",
    "VDMiniUNet3DCondition": "vdmini.student",
    "VDMiniUNetSpatioTemporal": "vdmini.student",
    "build_student": "vdmini.student",
    "kept_names": "vdmini.student",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
