"""Guards: they tell a clip that a collapsed student makes from one that is merely not good yet.

A student that is distilled adversarially may settle on a still, a flickering or a blank clip while its losses look
fine. Whether a clip is one is judged beside the teacher's clip of the same input.

Legend: N clips, F frames, H height, W width.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

BLANK_SHARE = 0.1
STILL_SHARE = 0.1
FLICKER_TIMES = 6.0
"""The pruned teacher before any healing reaches about three times the teacher's flicker."""


class CollapseError(RuntimeError):
    """A student whose clips have collapsed; the message says how and what to do."""


@dataclass(frozen=True)
class ClipStatistics:
    """What the guards look at, as means over clips of values in 0..1.

    Args:
        contrast: standard deviation over the pixels of a frame.
        motion: absolute difference of successive frames.
        flicker: absolute second difference over frames: what moves on doesn't count, what comes and goes does.
    """

    contrast: float
    motion: float
    flicker: float


def statistics_of(clips_NF3HW: "Tensor") -> ClipStatistics:
    """Statistics of clips in 0..1 with at least three frames."""
    step = clips_NF3HW.diff(dim=1)
    return ClipStatistics(
        float(clips_NF3HW.flatten(3).std(dim=-1).mean()), float(step.abs().mean()), float(step.diff(dim=1).abs().mean())
    )


def collapse(student: ClipStatistics, teacher: ClipStatistics) -> str | None:
    """How a student has collapsed beside its teacher: "one colour", "still", "flicker", or None."""
    if student.contrast < BLANK_SHARE * teacher.contrast:
        return "one colour"
    if student.motion < STILL_SHARE * teacher.motion:
        return "still"
    if student.flicker > FLICKER_TIMES * max(teacher.flicker, 1e-3):
        return "flicker"
    return None


def refuse_collapse(student: ClipStatistics, teacher: ClipStatistics, step: int) -> None:
    """Raise `CollapseError` when `collapse` finds one."""
    found = collapse(student, teacher)
    if found:
        raise CollapseError(
            f"the student's clips collapsed by step {step}: {found} (contrast {student.contrast:.3f}, motion "
            f"{student.motion:.4f}, flicker {student.flicker:.4f}; the teacher's {teacher.contrast:.3f}, "
            f"{teacher.motion:.4f}, {teacher.flicker:.4f}); lower distill.lambda_mca or the learning rates, look at "
            "the samples, and start again in another folder"
        )


def refuse_nan(model: "nn.Module", step: int) -> None:
    """Raise `CollapseError` when a weight is not finite, naming it."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise CollapseError(
                f"the student's weights collapsed by step {step}: {name} holds NaN or infinity; lower the learning rate"
            )
