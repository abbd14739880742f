"""The uncompressed model of a compressed one, among those that a worker has loaded."""

from collections.abc import Mapping

from vdmini_serve.contract.model import ModelLimits
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.worker.models import LoadedModel


def teacher_of(model: LoadedModel, models: Mapping[str, LoadedModel], spec: JobSpec) -> LoadedModel | None:
    """The loaded teacher whose weights a compressed model was made from, if it can do this very job; else None."""
    if model.descriptor.variant == "teacher":
        return None
    for other in models.values():
        wanted = other.descriptor.variant == "teacher" and other.descriptor.task == model.descriptor.task
        same = other.descriptor.teacher.sha256 == model.descriptor.teacher.sha256
        if wanted and same and _takes(other.descriptor.limits, spec):
            return other
    return None


def _takes(limits: ModelLimits, spec: JobSpec) -> bool:
    """A student may have sizes and steps that its teacher has not."""
    return (
        (spec.width, spec.height) in limits.sizes
        and limits.min_num_frames <= spec.num_frames <= limits.max_num_frames
        and limits.min_fps <= spec.fps <= limits.max_fps
        and spec.num_inference_steps in limits.num_inference_steps
    )
