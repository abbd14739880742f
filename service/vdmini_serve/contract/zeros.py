"""Numbers that exist at 0 as soon as a model is published: a rate sees no first job whose counter was not there before.

What is counted under labels that nobody can foresee (other sizes and steps) begins with its first value.
"""

from collections.abc import Iterator

from vdmini_serve.contract import metrics
from vdmini_serve.contract.job import ENGINE_STAGES, ESCALATION_REASONS
from vdmini_serve.contract.metrics import cell
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import SERVICE_FAULTS
from vdmini_serve.contract.request import size_label

SHADOW_OUTCOMES = ("compared", "preempted")
DRIFT_MEASURES = ("psnr", "ssim", "motion")


def zeros(model: ModelDescriptor) -> list[str]:
    """Fields of the metrics' Redis hash that belong to a model's jobs."""
    return [*_of_jobs(model), *(_of_re_runs(model) if model.variant == "vdmini" else ())]


def _of_jobs(model: ModelDescriptor) -> Iterator[str]:
    labels, usual = (model.task, model.variant), model.defaults
    for status in metrics.OUTCOMES:
        yield cell(metrics.JOBS, (*labels, status), "value")
    for kind in SERVICE_FAULTS:
        yield cell(metrics.JOB_FAILURES, (*labels, kind.value), "value")
    for reason in ESCALATION_REASONS:
        yield cell(metrics.ESCALATIONS, (model.task, reason), "value")
    size = size_label(usual.width, usual.height, usual.num_frames)
    yield cell(metrics.JOB_LATENCY, (*labels, size, str(usual.num_inference_steps)), "sum")
    yield cell(metrics.QUEUE_WAIT, labels, "sum")
    for stage in (*ENGINE_STAGES, "mp4"):
        yield cell(metrics.STAGE, (stage, *labels), "sum")


def _of_re_runs(model: ModelDescriptor) -> Iterator[str]:
    labels = (model.task, model.name)
    for outcome in SHADOW_OUTCOMES:
        yield cell(metrics.SHADOW_RUNS, (*labels, outcome), "value")
    yield cell(metrics.SHADOW_SPEEDUP, labels, "sum")
    for measure in DRIFT_MEASURES:
        yield cell(metrics.SHADOW_DRIFT, (*labels, measure), "sum")
