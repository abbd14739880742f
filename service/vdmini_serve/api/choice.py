"""Which model and how many steps, when the request asks for a quality or for a time instead of naming them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vdmini_serve.api.expectations import Expectations
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import FieldProblem, ProblemError, ProblemKind
from vdmini_serve.contract.request import GenerationFields, JobSpec

NAMED = ("variant", "num_inference_steps")
"""What a request cannot name when it leaves the choice to the service."""


@dataclass(frozen=True)
class Choice:
    """What runs a job.

    Args:
        model: the model.
        num_inference_steps: denoising steps.
        quality: what a client calls it: draft, balanced or reference.
        seconds: engine seconds that such a job takes, measured; None when unknown.
    """

    model: ModelDescriptor
    num_inference_steps: int
    quality: str
    seconds: float | None

    def __str__(self) -> str:
        took = "not measured yet" if self.seconds is None else f"{self.seconds:.3g} s"
        steps = "1 step" if self.num_inference_steps == 1 else f"{self.num_inference_steps} steps"
        return f"{self.quality}: {self.model.name} in {steps} ({took})"


def leaves_the_choice(request: GenerationFields) -> bool:
    """Whether a request asks for a quality or a time.

    Raises:
        ProblemError: when it also names what it leaves to the service.
    """
    if request.quality is None and request.max_latency_seconds is None:
        return False
    named = [name for name in NAMED if name in request.model_fields_set]
    if request.quality is not None and request.max_latency_seconds is not None:
        named.append("max_latency_seconds")
    if named:
        asked = "quality" if request.quality is not None else "max_latency_seconds"
        problems = tuple(FieldProblem(field=name, detail=f"{name} cannot be given beside {asked}") for name in named)
        detail = f"{' and '.join(named)} cannot be given beside {asked}, which chooses them; leave one of them out"
        raise ProblemError(ProblemKind.INVALID_FIELD, detail, errors=problems)
    return True


def candidates(specs: Sequence[tuple[ModelDescriptor, JobSpec]], expectations: Expectations) -> Iterator[Choice]:
    """All choices for a job, the best first.

    Args:
        specs: every model that can do the job, and the job with its default steps.
        expectations: what was measured.
    """
    students = [pair for pair in specs if pair[0].variant == "vdmini"]
    for model, spec in specs:
        if model.variant == "teacher":
            yield _choice(model, spec, "reference", expectations)
    for model, spec in students:
        yield _choice(model, spec, "balanced", expectations)
    for model, spec in students:
        fewest = min(model.limits.num_inference_steps)
        yield _choice(model, spec.model_copy(update={"num_inference_steps": fewest}), "draft", expectations)


def _choice(model: ModelDescriptor, spec: JobSpec, quality: str, expectations: Expectations) -> Choice:
    return Choice(model, spec.num_inference_steps, quality, expectations.seconds(spec, model))


def choose(found: Sequence[Choice], request: GenerationFields) -> tuple[Choice, str]:
    """Pick one of `candidates`.

    Returns:
        It, and why in words.

    Raises:
        ProblemError: when none has the quality, or none was measured to be fast enough.
    """
    if request.quality is not None:
        fitting = [each for each in found if each.quality == request.quality]
        if not fitting:
            detail = f"quality {request.quality!r} is not loaded; loaded are {', '.join(map(str, found)) or 'none'}"
            raise ProblemError(ProblemKind.UNKNOWN_VARIANT, detail)
        chosen = min(fitting, key=lambda each: each.seconds if each.seconds is not None else float("inf"))
        return chosen, f"quality is {request.quality}; {chosen}"
    limit = request.max_latency_seconds or 0.0
    for each in found:
        if each.seconds is not None and each.seconds <= limit:
            return each, f"the best within {limit:g} s; {each}"
    measured = "; ".join(map(str, found)) or "none is loaded"
    detail = f"nothing was measured to take at most {limit:g} s here: {measured}. Allow more time or ask for a quality"
    raise ProblemError(ProblemKind.NO_VARIANT_FAST_ENOUGH, detail)
