"""Block importance: what a clip loses in content and in motion, and what time is saved, when one block is off.

After arXiv 2411.18375, which measures FVD alone; here content and motion are told apart. It leaves switching off to
`vdmini_compress.blocks` and measuring clips to a `vdmini_compress.yardstick`.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from vdmini.engine import Engine
from vdmini.manifest import Record, TeacherId
from vdmini_compress.blocks import Block, Kind, switched_off
from vdmini_compress.evaluate import settings_of
from vdmini_compress.latency import LEAST_RUNS, interval
from vdmini_compress.yardstick import APPEARANCE, SMALL_WORLD, TRAJECTORY, Measure, Reading, Yardstick

WARM_UP = 2
FILE_NAME = "importance.json"


class BlockImportance(Record):
    """What one block is worth; what is lost is the teacher's measure with the block off, minus that with all on."""

    name: str = Field(description="as in a pruning plan; a stage's name stands for its temporal part")
    label: str = Field(description="as the paper writes it, such as D0 pair 1")
    kind: Kind
    position: int = Field(description="0 for what runs first")
    parameters: int = Field(description="weights that only serve this block")
    content_lost: float = Field(description="rise of the report's content measure, in its unit")
    motion_lost: float = Field(description="rise of the report's motion measure, in its unit")
    fvd_lost: float | None = Field(default=None, description="rise of the Fréchet video distance, where it is measured")
    seconds_saved: float = Field(description="per U-Net forward pass, median of paired runs")
    seconds_saved_interval: tuple[float, float] = Field(description="95 % bootstrap interval of that median")


class ImportanceReport(Record):
    """All blocks of one teacher, as `importance.json` holds them."""

    teacher: TeacherId
    device: str
    dtype: str
    data: str = Field(default=SMALL_WORLD, description="what the clips are of: the small world, or a folder of videos")
    clips: int
    seed: int
    runs: int = Field(description="paired forward passes behind each seconds_saved")
    content: Measure = Field(default=APPEARANCE, description="what content is measured by")
    motion: Measure = Field(default=TRAJECTORY, description="what motion is measured by")
    content_error: float = Field(description="content measure with all blocks on")
    motion_error: float = Field(description="motion measure with all blocks on")
    fvd: float | None = Field(default=None, description="Fréchet video distance with all blocks on, where measured")
    stages: int = Field(description="Down stages of the U-Net")
    forward_seconds: float = Field(description="median of a U-Net forward pass with all blocks on")
    blocks: tuple[BlockImportance, ...]
    measured_at: str


def analyze(
    engine: Engine,
    blocks: Sequence[Block],
    sample: dict[str, Any],
    yardstick: Yardstick,
    *,
    runs: int,
    say: Callable[[str], None],
) -> ImportanceReport:
    """Switch every one of the blocks off once and measure.

    Args:
        engine: a teacher.
        blocks: of its U-Net, as `vdmini_compress.blocks.blocks_of` lists them.
        sample: an input to time on, as arguments of `Engine.generate`; defaults fill the rest.
        yardstick: of this engine.
        runs: paired forward passes per block.
        say: receives progress, one line at a time.

    Returns:
        The report, blocks in the given order.

    Raises:
        ValueError: when `runs` is too small, or the yardstick doesn't fit the model.
    """
    if runs < LEAST_RUNS:
        raise ValueError(f"{runs} timed passes per block are too few; give at least {LEAST_RUNS}")
    unet = engine.pipeline.unet
    whole = yardstick.read()
    forward = recorded_forward(engine, sample)
    for _ in range(WARM_UP):
        forward()
    rows, times = [], []
    for number, block in enumerate(blocks, start=1):
        say(f"{block.label} ({number}/{len(blocks)})")
        with switched_off(unet, block):
            lost = yardstick.read().beyond(whole)
        pairs = _timed_pairs(unet, block, forward, runs)
        times += [on for on, _ in pairs]
        rows.append(_row(block, lost, pairs))
    return ImportanceReport(
        teacher=engine.manifest.teacher,
        device=engine.device,
        dtype=engine.dtype,
        data=yardstick.data,
        clips=yardstick.clips,
        seed=yardstick.seed,
        runs=runs,
        content=yardstick.content,
        motion=yardstick.motion,
        content_error=_rounded(whole.content),
        motion_error=_rounded(whole.motion),
        fvd=None if whole.fvd is None else _rounded(whole.fvd),
        stages=len(unet.down_blocks),
        forward_seconds=round(statistics.median(times), 6),
        blocks=tuple(rows),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_report(path: Path, given: TeacherId | None) -> ImportanceReport:
    """The report that `vdmini-compress analyze` wrote of a teacher.

    Args:
        path: importance.json.
        given: the teacher that it shall be of; None where that isn't there to be asked.

    Raises:
        ValueError: when the file is none, or of another teacher.
    """
    try:
        report = ImportanceReport.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ValueError(f"{path} is no importance.json of `vdmini-compress analyze`: {error}") from error
    of = report.teacher
    if given is not None and of.sha256 != given.sha256:
        raise ValueError(f"{path} was measured on {of.id} ({of.sha256[:8]}), not on {given.id} ({given.sha256[:8]})")
    return report


def _row(block: Block, lost: Reading, pairs: list[tuple[float, float]]) -> BlockImportance:
    saved = [on - off for on, off in pairs]
    return BlockImportance(
        name=block.name,
        label=block.label,
        kind=block.kind,
        position=block.position,
        parameters=block.parameters,
        content_lost=_rounded(lost.content),
        motion_lost=_rounded(lost.motion),
        fvd_lost=None if lost.fvd is None else _rounded(lost.fvd),
        seconds_saved=round(statistics.median(saved), 6),
        seconds_saved_interval=interval(saved, digits=6),
    )


def _rounded(value: float) -> float:
    """To six digits that count: measures differ in their units by orders of magnitude."""
    return float(f"{value:.6g}")


def recorded_forward(engine: Engine, sample: dict[str, Any]) -> Callable[[], None]:
    """The U-Net's first forward pass of a generation, to be repeated alone."""
    unet, calls = engine.pipeline.unet, []

    def record(_: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        calls.append((arguments, options))

    hook = unet.register_forward_pre_hook(record, with_kwargs=True)
    try:
        engine.generate(**settings_of(engine, **sample))
    finally:
        hook.remove()
    arguments, options = calls[0]

    @torch.inference_mode()
    def forward() -> None:
        unet(*arguments, **options)
        if engine.torch_device.type == "cuda":
            torch.cuda.synchronize(engine.torch_device)

    return forward


def _timed_pairs(unet: Any, block: Block, forward: Callable[[], None], runs: int) -> list[tuple[float, float]]:
    """Seconds of a forward pass with the block on and off, in turn."""
    pairs = []
    for _ in range(runs):
        on = _seconds(forward)
        with switched_off(unet, block):
            pairs.append((on, _seconds(forward)))
    return pairs


def _seconds(forward: Callable[[], None]) -> float:
    start = time.perf_counter()
    forward()
    return time.perf_counter() - start
