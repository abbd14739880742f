"""How clips move: differences of neighbouring frames, and optical flow by block matching.

No network and no download. Legend: N clips, F frames, T = F - 1 transitions, P picture pairs, H height, W width,
3 colour channels, values 0..1.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MEASURES = {
    "change": "mean absolute difference of neighbouring frames, 0..1",
    "change_spread": "standard deviation of that difference over a clip's transitions, 0..1",
    "still": f"share of transitions that change less than {0.5 / 255:.3f} on average",
    "flicker": "change that the very next transition takes back, 0..1",
    "flow_px": "mean displacement per transition, pixels",
    "fast_flow_px": "mean displacement of the fastest 5 % of blocks, pixels",
}

STILL = 0.5 / 255
"""A transition that moves pixels by less than half a step of 8 bits on average counts as none."""

LEAST_TOLD = {"change": STILL, "change_spread": STILL, "flicker": STILL, "flow_px": 0.5, "fast_flow_px": 0.5}
"""What each measure can barely tell from none: half a step of 8 bits, half a pixel. `still` is what `change` tells."""

FLOW_SIDE = 128
"""Larger pictures are shrunk until their shorter side has so many pixels: flow then costs the same at any size."""

BLOCK = 8
REACH = 8
"""Displacements up to so many (shrunken) pixels are tried in both directions."""

PENALTY = 0.001
"""What a pixel of displacement must explain of the mean brightness difference; MP4's noise explains less."""

FASTEST = 0.05


def motion_scores(clips_NF3HW: Tensor) -> dict[str, Tensor]:
    """Scores of `MEASURES`, one per clip.

    Fine texture that moves far per transition also counts as flicker: compare clips of the same scenes.

    Args:
        clips_NF3HW: clips of at least three frames, floating point in 0..1, on any device.

    Returns:
        Measure -> float32 [N], on that device.

    Raises:
        ValueError: when the clips' shape is another or their frames are too few or too small.
    """
    if clips_NF3HW.ndim != 5 or clips_NF3HW.shape[1] < 3 or clips_NF3HW.shape[2] != 3:
        raise ValueError(f"clips of shape {tuple(clips_NF3HW.shape)}; motion needs [N, F, 3, H, W] with F at least 3")
    clips = clips_NF3HW.float()
    steps = clips.diff(dim=1)
    change_NT = steps.abs().mean(dim=(2, 3, 4))
    flow_NB = flow(clips).flatten(1)
    fastest = max(1, round(FASTEST * flow_NB.shape[1]))
    return {
        "change": change_NT.mean(dim=1),
        "change_spread": change_NT.std(dim=1, correction=0),
        "still": (change_NT < STILL).float().mean(dim=1),
        "flicker": _taken_back(steps).mean(dim=(1, 2, 3, 4)),
        "flow_px": flow_NB.mean(dim=1),
        "fast_flow_px": flow_NB.topk(fastest, dim=1).values.mean(dim=1),
    }


def log_scores(scores: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Scores as features in which a factor counts alike, whatever the measure's unit and however fast the clips are.

    Args:
        scores: measure -> [N], from `motion_scores`.

    Returns:
        log(score + what is barely told) of the measures in `LEAST_TOLD`, [N, measures].
    """
    return np.stack([np.log(scores[name].double().cpu().numpy() + least) for name, least in LEAST_TOLD.items()], axis=1)


def _taken_back(steps_NT3HW: Tensor) -> Tensor:
    """What two transitions in a row add and remove again; zero where a pixel keeps brightening, darkening or still."""
    earlier, later = steps_NT3HW[:, :-1], steps_NT3HW[:, 1:]
    return torch.where(earlier * later < 0, earlier.abs().minimum(later.abs()), 0)


def flow(clips_NF3HW: Tensor) -> Tensor:
    """Length of the displacement of each block in each transition, by full search over whole pixels.

    Blocks at the edge are left out, so that every displacement can be tried; a block without texture stays where it
    is. Displacements beyond `REACH` (shrunken) pixels are not found.

    Args:
        clips_NF3HW: clips, floating point in 0..1.

    Returns:
        Pixels of the given size, float32 [N, T, rows, columns] of blocks.

    Raises:
        ValueError: when a frame has no block that is far enough from its edge.
    """
    grey_NFHW = _shrunken(clips_NF3HW.float().mean(dim=2))
    count, frames, height, width = grey_NFHW.shape
    if min(height, width) < 2 * REACH + BLOCK:
        raise ValueError(f"frames of {width}x{height}; flow needs at least {2 * REACH + BLOCK} pixels on each side")
    before = grey_NFHW[:, :-1].reshape(-1, height, width)
    after = grey_NFHW[:, 1:].reshape(-1, height, width)
    lengths_PHW = _matched(before, after) * clips_NF3HW.shape[-2] / height
    return lengths_PHW.reshape(count, frames - 1, *lengths_PHW.shape[1:])


def _shrunken(grey_NFHW: Tensor) -> Tensor:
    scale = FLOW_SIDE / min(grey_NFHW.shape[-2:])
    if scale >= 1:
        return grey_NFHW
    size = [round(side * scale) for side in grey_NFHW.shape[-2:]]
    return F.interpolate(grey_NFHW, size=size, mode="bilinear", antialias=True)


def _matched(before_PHW: Tensor, after_PHW: Tensor) -> Tensor:
    """Length of each inner block's best displacement; the shorter one wins among equals."""
    _, height, width = before_PHW.shape
    inner = before_PHW[:, REACH : height - REACH, REACH : width - REACH]
    best_cost, best_length = inner.new_tensor(torch.inf), inner.new_tensor(0.0)
    for length, down, right in _displacements():
        moved = after_PHW[:, REACH + down : height - REACH + down, REACH + right : width - REACH + right]
        cost = F.avg_pool2d((inner - moved).abs(), BLOCK) + PENALTY * length
        best_length = torch.where(cost < best_cost, length, best_length)
        best_cost = cost.minimum(best_cost)
    return best_length


def _displacements() -> list[tuple[float, int, int]]:
    """All (length, down, right) within `REACH`, shortest first."""
    span = range(-REACH, REACH + 1)
    return sorted(((down**2 + right**2) ** 0.5, down, right) for down in span for right in span)
