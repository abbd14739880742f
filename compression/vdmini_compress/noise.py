"""Noise levels: the Karras schedule and the discretised log-normal that a discriminator's inputs are noised with.

Legend: N levels.
"""

import torch
from torch import Tensor

DISCRIMINATOR_LEVELS = 1000
LOG_MEAN, LOG_STD = -1.0, 1.0
"""Of the discriminator's noise. SF-V found means of 0 and -2 to fail (arXiv 2406.04324, table 3)."""


def karras_sigmas(count: int, *, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0) -> Tensor:
    """Noise levels [N], float32, falling from `sigma_max` to `sigma_min` (arXiv 2206.00364, eq. 5)."""
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas: Tensor = ((high + ramp * (low - high)) ** rho).float()
    return sigmas


def log_normal_shares(sigmas_N: Tensor, *, mean: float = LOG_MEAN, std: float = LOG_STD) -> Tensor:
    """How probable each noise level is: a log-normal's mass between neighbours (arXiv 2406.04324, section 4.2).

    Args:
        sigmas_N: levels, strictly monotonic, positive; the last may be infinite.
        mean: of the logarithm.
        std: of the logarithm.

    Returns:
        float64 [N] that sum to 1. A level gets the mass between it and the next lower one; the lowest gets none.
    """
    order = sigmas_N.argsort()
    rising = sigmas_N[order].double()
    mass = torch.special.ndtr((rising.log() - mean) / std).diff(prepend=torch.zeros(1, dtype=torch.float64))
    mass[0] = 0
    shares = torch.empty_like(mass)
    shares[order] = mass / mass.sum()
    return shares


def draw_levels(shares_N: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices [count], int64, of levels drawn with these shares."""
    return torch.multinomial(shares_N, count, replacement=True, generator=generator)
