"""What a VDMini is: plans, students, their costs and their artifacts.

Importing it imports neither torch nor diffusers: names that need them are looked up when first asked for. Besides
those in `__all__` it exports the `student_class` of every family, which saved students name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vdmini.plan import PlanError, PruningPlan

if TYPE_CHECKING:
    from diffusers import ModelMixin

    from vdmini.small_decoder import VDMiniAutoencoderKL, VDMiniAutoencoderKLTemporalDecoder
    from vdmini.student import build_student, kept_names
    from vdmini.unet3d_fps import UNet3DFpsConditionModel

__all__ = [
    "ModelMixin",
    "PlanError",
    "PruningPlan",
    "UNet3DFpsConditionModel",
    "VDMiniAutoencoderKL",
    "VDMiniAutoencoderKLTemporalDecoder",
    "build_student",
    "kept_names",
]

_HOMES = {
    "ModelMixin": "diffusers",  # diffusers' pipeline loader looks for the base class beside the class it loads
    "UNet3DFpsConditionModel": "vdmini.unet3d_fps",
    "VDMiniAutoencoderKL": "vdmini.small_decoder",
    "VDMiniAutoencoderKLTemporalDecoder": "vdmini.small_decoder",
    "build_student": "vdmini.student",
    "kept_names": "vdmini.student",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name.startswith("VDMini"):
        from vdmini.families import families

        for family in families():
            if family.student_class.__name__ == name:
                return family.student_class
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
