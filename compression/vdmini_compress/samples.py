"""Sample clips while a student is healed: losses do not track quality, eyes and guards do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vdmini.engine import Engine
from vdmini.video import enlarged, write_mp4
from vdmini_compress.evaluate import settings_of
from vdmini_compress.guards import refuse_collapse, refuse_nan, statistics_of
from vdmini_compress.world.measure import psnr


class Samples:
    """The same inputs through the teacher once, and through the student at every look.

    Args:
        teacher: the uncompressed model.
        student: the model that is being healed.
        inputs: conditions, as arguments of `Engine.generate`; defaults fill the rest.
        folder: where `step-000100.mp4` goes, the teacher's clips above the student's.
        guard_after: step from which a collapse stops the run.
    """

    def __init__(
        self, teacher: Engine, student: Engine, inputs: Sequence[dict[str, Any]], folder: Path, *, guard_after: int
    ) -> None:
        self.student, self.inputs, self.folder, self.guard_after = student, inputs, folder, guard_after
        self.teacher_clips = self._clips(teacher)
        self.teacher_statistics = statistics_of(_floats(self.teacher_clips))

    def look(self, step: int) -> dict[str, float]:
        """Write the clips of a step and compare them.

        Returns:
            "sample_psnr_db" between student and teacher; "sample_motion", "sample_flicker" as shares of the teacher's.

        Raises:
            vdmini_compress.guards.CollapseError: when the student has collapsed.
        """
        if step >= self.guard_after:
            refuse_nan(self.student.pipeline.unet, step)
        made = self._clips(self.student)
        self._write(made, step)
        right, found = self.teacher_statistics, statistics_of(_floats(made))
        if step >= self.guard_after:
            refuse_collapse(found, right, step)
        return {
            "sample_psnr_db": psnr(_floats(made), _floats(self.teacher_clips)),
            "sample_motion": found.motion / max(right.motion, 1e-6),
            "sample_flicker": found.flicker / max(right.flicker, 1e-6),
        }

    def _clips(self, engine: Engine) -> NDArray[np.uint8]:
        return np.stack([engine.generate(**settings_of(engine, **conditions)).frames for conditions in self.inputs])

    def _write(self, made: NDArray[np.uint8], step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [np.concatenate(list(clips), axis=2) for clips in (self.teacher_clips, made)]
        sheet = np.concatenate([enlarged(row) for row in rows], axis=1)
        write_mp4(sheet, self.folder / f"step-{step:06}.mp4", fps=self.student.manifest.defaults.fps)


def _floats(clips_NFHW3: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(clips_NFHW3).permute(0, 1, 4, 2, 3).float() / 255
