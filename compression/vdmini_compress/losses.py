"""The losses of distillation as pure functions; they reduce in float32.

Legend: B clips, F frames, C channels, H height, W width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
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


def pseudo_huber(made: Tensor, right: Tensor, weight: Tensor, *, c: float = 0.001) -> Tensor:
    """Weighted mean of sqrt(d^2 + c^2) - c over all values, d their difference (arXiv 2310.14189, eq. 6, per value).

    T2V-Turbo-v2 takes c = 0.001; SF-V's is unpublished, and the same is taken.

    Args:
        made: the student's.
        right: the same shape.
        weight: how much each value counts, broadcast against them.
        c: where it turns from squared to absolute.

    Returns:
        A scalar.
    """
    error = ((made.float() - right.float()).square() + c**2).sqrt() - c
    weight = weight.expand_as(error)
    return (error * weight).sum() / weight.sum()


def hinge_discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """E[relu(1 - D(real))] + E[relu(1 + D(fake))], each head counting alike (arXiv 2411.18375, L_D).

    Args:
        real: logits of each head, any shapes, for what shall be taken for real.
        fake: the same for the student's clips.
    """
    terms = [F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()


def hinge_generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """-E[D(fake)], each head counting alike (arXiv 2411.18375, L_MCA)."""
    return -torch.stack([f.float().mean() for f in fake]).mean()


def r1_penalty(real: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """Half the mean squared gradient of the real clips' logits (arXiv 1801.04406), with respect to the features.

    SF-V takes it with respect to the latents; through a frozen encoder that means differentiating a whole U-Net twice,
    and the heads, which alone are trained, see features only.

    Args:
        real: logits of each head.
        features: what the heads saw, requiring gradients.
    """
    total = torch.stack([r.float().mean(dim=1).sum() for r in real]).sum()
    gradients = torch.autograd.grad(total, list(features), create_graph=True)
    return 0.5 * torch.stack([g.float().square().sum() / len(real[0]) for g in gradients]).mean()
