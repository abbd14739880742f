"""The consistency loss of T2V-Turbo-v2 for a student of a latent consistency model (arXiv 2410.05677, section 3).

The student's answer at one noise level shall be its answer one solver step further down. T2V-Turbo-v2 solves with
VideoCrafter2 under guidance; here the solver is the teacher, whose guidance is distilled already, so one pass of it
gives both the step and the features that ICD compares.

Legend: B clips, F frames, C latent channels, H height, W width of the latents.
"""

from torch import Tensor

from vdmini_compress.text_batch import TextBatch

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0
SKIP = 5
"""Timesteps of a solver step: one of 200 DDIM steps of 1000."""


def boundary_scalings(timestep_B: Tensor) -> tuple[Tensor, Tensor]:
    """c_skip and c_out [B, 1, 1, 1, 1] of a latent consistency model (arXiv 2310.04378); 1 and 0 at timestep 0."""
    scaled = TIMESTEP_SCALING * timestep_B.float()[:, None, None, None, None]
    skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
    return skip, scaled / (scaled**2 + SIGMA_DATA**2).sqrt()


def consistency_function(batch: TextBatch, model_output: Tensor) -> Tensor:
    """f(x_t, t) = c_skip x_t + c_out times the clean latents that an output means, [B, F, C, H, W]."""
    skip, out = boundary_scalings(batch.timestep_B)
    return skip * batch.noisy_BFCHW + out * batch.denoised(model_output)


def solver_step(batch: TextBatch, teacher_output: Tensor, *, skip: int = SKIP) -> TextBatch:
    """The batch one deterministic DDIM step (arXiv 2010.02502, eq. 12) of the teacher further down.

    Args:
        batch: noisy latents x_t.
        teacher_output: the teacher's output on it.
        skip: timesteps to go down, to 0 at most.
    """
    clean = batch.denoised(teacher_output)
    signal, sigma = batch.schedule.levels(batch.timestep_B)
    noise = (batch.noisy_BFCHW - signal * clean) / sigma.clamp(min=1e-4)
    lower = (batch.timestep_B - skip).clamp(min=0)
    return batch.at(batch.schedule.noised(clean, noise, lower), lower)
