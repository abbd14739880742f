"""The losses of distillation as pure functions; they reduce in float32.

Legend: B clips, F frames, C channels, H height, W width.
"""

import torch
from torch import Tensor


def output_loss(student_BFCHW: Tensor, teacher_BFCHW: Tensor, weight_BFHW: Tensor, channel_weight_C: Tensor) -> Tensor:
    """Weighted mean squared difference of the clean latents that student and teacher predict.

    Args:
        student_BFCHW: the student's estimate.
        teacher_BFCHW: the teacher's, or the right answer.
        weight_BFHW: how much each place counts.
        channel_weight_C: how much each channel counts, mean 1.

    Returns:
        A scalar.
    """
    error = (student_BFCHW.float() - teacher_BFCHW.float()).square() * channel_weight_C.to(student_BFCHW.device)[
        :, None, None
    ]
    return (error.mean(dim=2) * weight_BFHW).sum() / weight_BFHW.sum()


def icd_loss(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> Tensor:
    """Individual content distillation: the distance of each frame's features (arXiv 2411.18375, L_ICD).

    The paper sums plain L2 distances over layers. Each frame's distance is divided by the norm of the teacher's
    features here, and layers are averaged: in a plain sum the widest stage outweighs all others.

    Args:
        student: stage -> features [B*F, C, H, W].
        teacher: the same of the teacher; stages that only it has are ignored.

    Returns:
        A scalar.

    Raises:
        ValueError: when no stage is shared.
    """
    shared = [stage for stage in student if stage in teacher]
    if not shared:
        raise ValueError(f"student stages {sorted(student)} and teacher stages {sorted(teacher)} share none")
    terms = []
    for stage in shared:
        made, right = student[stage].float().flatten(1), teacher[stage].float().flatten(1)
        terms.append(((made - right).norm(dim=1) / right.norm(dim=1).clamp(min=1e-6)).mean())
    return torch.stack(terms).mean()
