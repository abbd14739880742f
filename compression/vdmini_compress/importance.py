"""Block importance: what a clip loses in content and in motion, and what time is saved, when one block is off.

After arXiv 2411.18375, which measures FVD alone. Content and motion are told apart here: the small world
knows what the sprite must look like and where it must be. It leaves switching off to `vdmini_compress.blocks`.
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
from vdmini_compress.evaluate import evaluate, settings_of
from vdmini_compress.latency import LEAST_RUNS, interval

CONTENT = "appearance_error"
MOTION = "trajectory_error_px"
WARM_UP = 2


class BlockImportance(Record):
    """What one block is worth; errors are the teacher's with the block off, minus those with all blocks on."""

    name: str = Field(description="as in a pruning plan; a stage's name stands for its temporal part")
    label: str = Field(description="as the paper writes it, such as D0 pair 1")
    kind: Kind
    position: int = Field(description="0 for what runs first")
    parameters: int = Field(description="weights that only serve this block")
    content_lost: float = Field(description=f"rise of {CONTENT}, a mean difference of values in 0..1")
    motion_lost: float = Field(description=f"rise of {MOTION}, in pixels")
    seconds_saved: float = Field(description="per U-Net forward pass, median of paired runs")
    seconds_saved_interval: tuple[float, float] = Field(description="95 % bootstrap interval of that median")


class ImportanceReport(Record):
    """All blocks of one teacher, as `importance.json` holds them."""

    teacher: TeacherId
    device: str
    dtype: str
    clips: int
    seed: int
    runs: int = Field(description="paired forward passes behind each seconds_saved")
    content_error: float = Field(description=f"{CONTENT} with all blocks on")
    motion_error: float = Field(description=f"{MOTION} with all blocks on")
    stages: int = Field(description="Down stages of the U-Net")
    forward_seconds: float = Field(description="median of a U-Net forward pass with all blocks on")
    blocks: tuple[BlockImportance, ...]
    measured_at: str


def analyze(
    engine: Engine,
    blocks: Sequence[Block],
    sample: dict[str, Any],
    *,
    clips: int,
    seed: int,
    runs: int,
    say: Callable[[str], None],
) -> ImportanceReport:
    """Switch every one of the blocks off once and measure.

    Args:
        engine: a teacher of the small world.
        blocks: of its U-Net, as `vdmini_compress.blocks.blocks_of` lists them.
        sample: an input to time on, as arguments of `Engine.generate`; defaults fill the rest.
        clips: held-out clips per block.
        seed: picks the clips and seeds the noise, the same for every block.
        runs: paired forward passes per block.
        say: receives progress, one line at a time.

    Returns:
        The report, blocks in the given order.

    Raises:
        ValueError: when the model cannot make a clip of the small world, or `runs` is too small.
    """
    if runs < LEAST_RUNS:
        raise ValueError(f"{runs} timed passes per block are too few; give at least {LEAST_RUNS}")
    unet = engine.pipeline.unet
    whole = evaluate(engine, count=clips, seed=seed)
    forward = recorded_forward(engine, sample)
    for _ in range(WARM_UP):
        forward()
    rows, times = [], []
    for number, block in enumerate(blocks, start=1):
        say(f"{block.label} ({number}/{len(blocks)})")
        with switched_off(unet, block):
            scores = evaluate(engine, count=clips, seed=seed)
        pairs = _timed_pairs(unet, block, forward, runs)
        times += [on for on, _ in pairs]
        rows.append(_row(block, scores[CONTENT] - whole[CONTENT], scores[MOTION] - whole[MOTION], pairs))
    return ImportanceReport(
        teacher=engine.manifest.teacher,
        device=engine.device,
        dtype=engine.dtype,
        clips=clips,
        seed=seed,
        runs=runs,
        content_error=round(whole[CONTENT], 5),
        motion_error=round(whole[MOTION], 5),
        stages=len(unet.down_blocks),
        forward_seconds=round(statistics.median(times), 6),
        blocks=tuple(rows),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read_report(path: Path, engine: Engine) -> ImportanceReport:
    """The report that `vdmini-compress analyze` wrote of a teacher.

    Raises:
        ValueError: when the file is none, or of another teacher.
    """
    try:
        report = ImportanceReport.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ValueError(f"{path} is no importance.json of `vdmini-compress analyze`: {error}") from error
    of, given = report.teacher, engine.manifest.teacher
    if of.sha256 != given.sha256:
        raise ValueError(f"{path} was measured on {of.id} ({of.sha256[:8]}), not on {given.id} ({given.sha256[:8]})")
    return report


def _row(block: Block, content: float, motion: float, pairs: list[tuple[float, float]]) -> BlockImportance:
    saved = [on - off for on, off in pairs]
    return BlockImportance(
        name=block.name,
        label=block.label,
        kind=block.kind,
        position=block.position,
        parameters=block.parameters,
        content_lost=round(content, 5),
        motion_lost=round(motion, 5),
        seconds_saved=round(statistics.median(saved), 6),
        seconds_saved_interval=interval(saved, digits=6),
    )


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
