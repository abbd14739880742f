"""Two sets of clips, compared: what a model made against what it should have made.

It leaves making and reading clips to its callers. Legend: N clips, F frames, D features, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, cat

from vdmini_compress.suites import motion
from vdmini_compress.suites.features import FeatureNetwork, Features
from vdmini_compress.suites.frechet import frechet_estimate
from vdmini_compress.suites.intervals import Estimate, mean_intervals

FVD, FRAME_DISTANCE = "fvd", "frame_distance"

MEASURES = {
    FVD: "Fréchet video distance of I3D features (lower is better)",
    FRAME_DISTANCE: "Fréchet distance of single frames in the model's own encoder (lower is better)",
    **motion.MEASURES,
    **{f"{name}_real": f"real clips: {words}" for name, words in motion.MEASURES.items()},
}


@dataclass(frozen=True)
class Measured:
    """What was measured on a set of clips.

    Args:
        clips_ND: I3D features of whole clips; None without an I3D file.
        frames_NFD: features of frames.
        motion: measure -> score [N].
    """

    clips_ND: Features | None
    frames_NFD: Features
    motion: dict[str, Tensor]


@dataclass(frozen=True)
class Instruments:
    """What clips are measured with.

    Args:
        i3d: makes features of whole clips; None leaves FVD out.
        frames: makes features of frames.
    """

    i3d: FeatureNetwork | None
    frames: FeatureNetwork

    def measure(self, clips_NF3HW: Tensor) -> Measured:
        """Measure clips in 0..1, all of one size; as many at once as memory holds, see `joined`."""
        return Measured(
            clips_ND=self.i3d(clips_NF3HW) if self.i3d else None,
            frames_NFD=self.frames(clips_NF3HW),
            motion={name: scores.cpu() for name, scores in motion.motion_scores(clips_NF3HW).items()},
        )


def joined(parts: Sequence[Measured]) -> Measured:
    """Several sets as one, in order."""
    clips = [part.clips_ND for part in parts if part.clips_ND is not None]
    return Measured(
        clips_ND=np.concatenate(clips) if clips else None,
        frames_NFD=np.concatenate([part.frames_NFD for part in parts]),
        motion={name: cat([part.motion[name] for part in parts]) for name in motion.MEASURES},
    )


def compare(made: Measured, real: Measured, *, seed: int) -> dict[str, Estimate]:
    """Distances between two sets, and the motion of each.

    Args:
        made: a model's clips.
        real: the clips they are held against; of the same place, where a pair has the same first frame.
        seed: of the intervals' resampling.

    Returns:
        Names of `MEASURES` -> value and interval; no FVD without I3D features.

    Raises:
        ValueError: when there are fewer than two clips for FVD, or a feature is not finite.
    """
    distances = {}
    if made.clips_ND is not None and real.clips_ND is not None:
        distances[FVD] = frechet_estimate(made.clips_ND[:, None], real.clips_ND[:, None], seed=seed)
    distances[FRAME_DISTANCE] = frechet_estimate(made.frames_NFD, real.frames_NFD, seed=seed)
    motions = {name: scores.tolist() for name, scores in made.motion.items()}
    motions |= {f"{name}_real": scores.tolist() for name, scores in real.motion.items()}
    return distances | mean_intervals(motions, seed=seed)
