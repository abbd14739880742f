"""Scores of VBench on videos that are there: calls it where it is installed, else tells how.

VBench needs NumPy 1 and an old transformers, so it lives in an environment of its own, and runs there.
"""

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from vdmini_compress.suites.intervals import Estimate, mean_interval
from vdmini_compress.suites.output import VIDEOS
from vdmini_compress.suites.vbench import FLICKERING, FULL_INFO, IMAGE, TEXT

PACKAGES = {TEXT: "vbench", IMAGE: "vbench2_beta_i2v"}
CLASSES = {TEXT: "VBench", IMAGE: "VBenchI2V"}
PROMPT_LISTS = {TEXT: "vbench/VBench_full_info.json", IMAGE: "vbench2_beta_i2v/vbench2_i2v_full_info.json"}
"""Where VBench's repository has its prompts."""

IMAGES = "vbench2_beta_i2v/data/crop"
"""Where its download script puts the first frames."""

REPOSITORY = "https://github.com/Vchitect/VBench"
SCRIPT, SCORES = "score.py", "scores"

AGREE = 1e-3
"""An interval is given where the mean over videos is the dimension's score to this share of it."""

PROGRAM = """\
import torch
from {package} import {judge}

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
{judge}(device, {info!r}, {scores!r}).evaluate(**{options!r})
"""


@dataclass(frozen=True)
class Place:
    """Where VBench is.

    Args:
        python: interpreter of the environment that it is installed in.
        root: its repository, or None; VBench-I2V is imported from there and looks for its images below it.
    """

    python: Path
    root: Path | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run that interpreter in that repository; what it prints is kept, what it logs is shown."""
        command = [str(self.python.absolute()), *arguments]
        path = {"PYTHONPATH": str(self.root.absolute())} if self.root else {}
        return subprocess.run(  # noqa: S603 - the user's own interpreter
            command, cwd=self.root, env=os.environ | path, stdout=subprocess.PIPE, text=True, check=False
        )

    def package_folder(self, suite: str) -> Path | None:
        """Where the package behind a suite is installed, or None where it isn't."""
        find = f"import importlib.util as u; s = u.find_spec({PACKAGES[suite]!r}); print(s.origin if s else '')"
        origin = self.run("-c", find).stdout.strip()
        return Path(origin).parent if origin else None

    def prompt_list(self, suite: str) -> Path | None:
        """The suite's own prompts, in the repository or in the installed package."""
        folder = self.root / Path(PROMPT_LISTS[suite]).parent if self.root else self.package_folder(suite)
        return folder / Path(PROMPT_LISTS[suite]).name if folder else None


def scorable(dimensions: Sequence[str]) -> tuple[str, ...]:
    """All but temporal flickering, each once: VBench must sift its videos first, see `sifting`."""
    return tuple(dict.fromkeys(name for name in dimensions if name != FLICKERING))


def write_script(suite: str, output: Path, dimensions: Sequence[str], *, ratio: str | None) -> Path:
    """Write the Python that scores a folder of videos, for the environment that has VBench.

    Args:
        suite: `TEXT` or `IMAGE`.
        output: the folder that holds `VIDEOS` and `FULL_INFO`; scores go to `SCORES` in it.
        dimensions: what to score.
        ratio: VBench-I2V: name of the images' shape.

    Returns:
        The script's path.
    """
    where = output.absolute()
    options = {"videos_path": str(where / VIDEOS), "name": suite, "dimension_list": list(dimensions)}
    if ratio is not None:
        options["resolution"] = ratio
    program = PROGRAM.format(
        package=PACKAGES[suite],
        judge=CLASSES[suite],
        info=str(where / FULL_INFO),
        scores=str(where / SCORES),
        options=options,
    )
    script = where / SCRIPT
    script.write_text(program)
    return script


def score(place: Place, suite: str, script: Path, *, seed: int) -> dict[str, Estimate]:
    """Run VBench on a folder and read what it found.

    Args:
        place: where it is installed.
        suite: `TEXT` or `IMAGE`.
        script: from `write_script`.
        seed: of the intervals' resampling.

    Returns:
        Dimension -> score with its interval, see `read_scores`.

    Raises:
        ValueError: when VBench fails, with the command to repeat.
    """
    run = place.run(str(script))
    if run.returncode:
        raise ValueError(f"VBench ended with {run.returncode}, see above; the videos are kept: {place.python} {script}")
    return read_scores(script.parent / SCORES / f"{suite}_eval_results.json", seed=seed)


def read_scores(path: Path, *, seed: int) -> dict[str, Estimate]:
    """Read VBench's results, with 95 % intervals over prompts, since videos of one prompt are alike.

    Args:
        path: dimension -> [score, ..., [{"video_path": ..., "video_results": ...}, ...]], as VBench writes it.
        seed: of the resampling.

    Returns:
        Dimension -> score, 0..1; no interval where the score isn't a plain mean over videos.
    """
    results: dict[str, list[Any]] = json.loads(path.read_text())
    return {dimension: _estimate(float(found[0]), found[-1], seed) for dimension, found in results.items()}


def _estimate(value: float, videos: list[dict[str, Any]], seed: int) -> Estimate:
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for video in videos:
        by_prompt[re.sub(r"-\d+$", "", Path(video["video_path"]).stem)].append(float(video["video_results"]))
    if not by_prompt:
        return Estimate(value=value, interval=None)
    around = mean_interval([fmean(scores) for scores in by_prompt.values()], seed=seed)
    agrees = abs(around.value - value) <= AGREE * abs(value)
    return Estimate(value=value, interval=around.interval if agrees else None)


def instructions(place: Place, suite: str, script: Path) -> str:
    """What to type to have a folder's videos scored where VBench isn't installed."""
    image = suite == IMAGE
    return (
        f"{PACKAGES[suite]} is not installed for {place.python}: the videos have no scores yet. With a GPU:\n"
        f"  git clone {REPOSITORY} && cd VBench\n"
        "  python3.10 -m venv env && env/bin/pip install torch torchvision && env/bin/pip install vbench\n"
        + (f"  sh {Path(IMAGES).parent.parent}/download_data.sh\n" if image else "")
        + f"  PYTHONPATH=. env/bin/python '{script}'\n"
        "or repeat this command with --vbench-python VBench/env/bin/python --vbench-root VBench"
    )


def sifting(script: Path) -> str:
    """What to type for temporal flickering, which VBench scores on still videos alone."""
    videos = script.parent / VIDEOS
    return (
        f"{FLICKERING} is scored on still videos alone: vbench static_filter --videos_path '{videos}', then "
        f"vbench evaluate --dimension {FLICKERING} --videos_path filter_results/filtered_videos"
    )
