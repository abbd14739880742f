"""Warming models up and measuring the first baseline, before the first job. Timings are kept by `worker.baseline`."""

import io
import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from time import time

from PIL import Image

from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.request import EXAMPLE_PROMPT, JobSpec
from vdmini_serve.contract.samples import engine_seconds, sample_key
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.baseline import BaselineStore
from vdmini_serve.worker.models import LoadedModel

log = logging.getLogger(__name__)


def default_spec(descriptor: ModelDescriptor) -> JobSpec:
    """The job that a model does when the request is silent."""
    return JobSpec(
        task=descriptor.task,
        model=descriptor.name,
        variant=descriptor.variant,
        prompt=EXAMPLE_PROMPT if descriptor.task == "t2v" else None,
        seed=0,
        **descriptor.defaults.model_dump(),
    )


def warm_up(models: Mapping[str, LoadedModel], baselines: BaselineStore, settings: Settings) -> None:
    """Run every model once in each of its sizes, unmeasured; then teacher and students in turn at their defaults.

    A size that a GPU sees first is compiled or recorded for it. In turn, so that noise hits all alike.
    """
    for model in models.values():
        warm_sizes(model)
    by_task = sorted(models, key=lambda name: models[name].descriptor.task)
    for _, group in groupby(by_task, key=lambda name: models[name].descriptor.task):
        names = list(group)  # and not the models, of which there may not be room for all at once
        if _measured(names, models, baselines, settings):
            continue
        for _ in range(settings.baseline_runs):
            for model in map(models.__getitem__, names):
                spec = default_spec(model.descriptor)
                baselines.add(sample_key(model.descriptor, spec, model.device), _run(model))


def warm_sizes(model: LoadedModel) -> None:
    """Run a model once in each of its sizes."""
    for width, height in model.descriptor.limits.sizes:
        _run(model, width=width, height=height)


def _measured(
    names: Sequence[str], models: Mapping[str, LoadedModel], baselines: BaselineStore, settings: Settings
) -> bool:
    """Whether each model has a fresh timing; a child that restarts after a crash measures nothing."""
    for model in map(models.__getitem__, names):
        known = baselines.timing(sample_key(model.descriptor, default_spec(model.descriptor), model.device))
        if known is None or time() - known.measured_at > settings.baseline_max_age_seconds:
            return False
    return True


def _run(model: LoadedModel, **size: int) -> float:
    spec = default_spec(model.descriptor).model_copy(update=size)
    image = gradient(spec.width, spec.height) if spec.task == "i2v" else None
    return engine_seconds(model.run(spec, image, lambda _: None).seconds)


def gradient(width: int, height: int) -> bytes:
    """A picture of the right size; what it shows doesn't change how long it takes."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
