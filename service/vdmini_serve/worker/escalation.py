"""A clip, checked: what a compressed model gets wrong its teacher makes again, once. The check is `plausibility`'s."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vdmini_serve.contract.job import EscalationReason
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.plausibility import IN_WORDS, implausible
from vdmini_serve.worker.teacher import teacher_of

if TYPE_CHECKING:
    from vdmini.engine import Generation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip and who made it.

    Args:
        model: that made it.
        generation: its frames and what they took.
        reason: what was wrong with the clip that was thrown away for it, if one was.
        discarded_seconds: what that one took.
    """

    model: LoadedModel
    generation: "Generation"
    reason: EscalationReason | None = None
    discarded_seconds: float = 0.0

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage; `discarded` only when a clip was thrown away."""
        discarded = {"discarded": self.discarded_seconds} if self.reason else {}
        return {**self.generation.seconds, **discarded}


def checked_clip(
    model: LoadedModel,
    spec: JobSpec,
    image: bytes | None,
    *,
    models: Mapping[str, LoadedModel],
    generate: Callable[[LoadedModel], "Generation"],
    on_escalation: Callable[[EscalationReason], None],
) -> Clip:
    """Make a clip; when it is implausible, let the teacher make it.

    Args:
        model: that the job asks for.
        spec: what to make.
        image: the PNG that it begins with, for image-to-video.
        models: that are loaded.
        generate: makes the clip on a model.
        on_escalation: called before the teacher is asked.

    Raises:
        ProblemError: when there is no teacher to ask, or the last clip is implausible, too.
    """
    first = generate(model)
    reason = implausible(first, spec, image)
    if reason is None:
        return Clip(model, first)
    teacher = teacher_of(model, models, spec)
    if teacher is None:
        raise _refusal(model, reason)
    log.warning("a clip of %s %s; %s makes it again", model.descriptor.name, IN_WORDS[reason], teacher.descriptor.name)
    on_escalation(reason)
    second = generate(teacher)
    remains = implausible(second, spec, image)
    if remains is not None:
        raise _refusal(teacher, remains)
    return Clip(teacher, second, reason, sum(first.seconds.values()))


def _refusal(model: LoadedModel, reason: EscalationReason) -> ProblemError:
    name = model.descriptor.name
    alone = "" if model.descriptor.variant == "teacher" else "no teacher is loaded that could make it instead; "
    detail = f"The clip that {name} made {IN_WORDS[reason]}, so it isn't served; {alone}"
    return ProblemError(
        ProblemKind.IMPLAUSIBLE_CLIP, detail + "send the request again with another seed, prompt or image."
    )
