"""The uncompressed model of a compressed one, among those that a worker has loaded."""

from collections.abc import Mapping

from vdmini_serve.contract.model import ModelDescriptor, ModelLimits
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.shelf import Shelf


def teacher_of(
    model: LoadedModel, models: Mapping[str, LoadedModel], spec: JobSpec, *, opened: bool = False
) -> LoadedModel | None:
    """The teacher whose weights a compressed model was made from, if it can do this very job; else None.

    Args:
        model: the compressed one.
        models: what the worker has.
        spec: the job.
        opened: only one that is open already: opening it may push another model out.
    """
    if model.descriptor.variant == "teacher":
        return None
    for name, other in _described(models, opened=opened).items():
        wanted = other.variant == "teacher" and other.task == model.descriptor.task
        if wanted and other.teacher.sha256 == model.descriptor.teacher.sha256 and _takes(other.limits, spec):
            return models[name]
    return None


def _described(models: Mapping[str, LoadedModel], *, opened: bool) -> dict[str, ModelDescriptor]:
    """Looking a model up would open it, so a shelf is asked for its labels."""
    if not isinstance(models, Shelf):
        return {name: model.descriptor for name, model in models.items()}
    there = {descriptor.name: descriptor for descriptor in models.descriptors()}
    return {name: there[name] for name in models.opened() if name in there} if opened else there


def _takes(limits: ModelLimits, spec: JobSpec) -> bool:
    """A student may have sizes and steps that its teacher has not."""
    return (
        (spec.width, spec.height) in limits.sizes
        and limits.min_num_frames <= spec.num_frames <= limits.max_num_frames
        and limits.min_fps <= spec.fps <= limits.max_fps
        and spec.num_inference_steps in limits.num_inference_steps
    )
