"""The prompt suites of VBench and VBench-I2V (arXiv 2311.17982, 2411.13503): their videos in VBench's layout.

VBench finds `{prompt}-{index}.mp4` by that very name; it leaves scoring to `vbench_scores`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError

from vdmini.engine import Engine
from vdmini.manifest import Record
from vdmini_compress.suites.output import ClipFolder, check_name

TEXT, IMAGE = "vbench", "vbench-i2v"
TASKS = {TEXT: "t2v", IMAGE: "i2v"}

SAMPLES = 5
"""Videos per prompt that VBench looks for."""

FLICKERING, FLICKERING_SAMPLES = "temporal_flickering", 25
"""VBench keeps five still videos per prompt of this dimension out of so many."""

FULL_INFO = "full_info.json"
"""The entries whose videos are here, in VBench's own form."""

RATIOS = {"1-1": 1, "8-5": 8 / 5, "7-4": 7 / 4, "16-9": 16 / 9}
"""Folders of VBench-I2V's images, and the width over height of those in them."""


class Prompt(Record):
    """One prompt of a suite."""

    text: str
    dimensions: tuple[str, ...] = Field(description="what VBench scores on its videos")
    image_name: str | None = Field(default=None, description="VBench-I2V: the file that is the first frame")
    entry: dict[str, Any] = Field(description="as VBench wrote it")

    def names(self, samples: int | None) -> list[str]:
        """Names of its videos, without suffix; as many as VBench asks for when `samples` is None."""
        own = FLICKERING_SAMPLES if FLICKERING in self.dimensions and self.image_name is None else SAMPLES
        return [f"{self.text}-{index}" for index in range(own if samples is None else samples)]


def read_prompts(path: Path) -> list[Prompt]:
    """Read `VBench_full_info.json` or `vbench2_i2v_full_info.json`, or a list of one's own in that form.

    Args:
        path: a JSON list of objects with `prompt_en` and `dimension`, and `image_name` for VBench-I2V.

    Raises:
        ValueError: when the file is missing or has another form, or a prompt can't be a file's name.
    """
    if not path.is_file():
        raise ValueError(f"there is no prompt list {path}; VBench's is vbench/VBench_full_info.json in its repository")
    try:
        entries = TypeAdapter(list[dict[str, Any]]).validate_json(path.read_bytes())
        prompts = [
            Prompt(text=e["prompt_en"], dimensions=e["dimension"], image_name=e.get("image_name"), entry=e)
            for e in entries
        ]
    except (ValidationError, KeyError) as error:
        raise ValueError(f"{path} is no list of objects with prompt_en and dimension, as VBench's is") from error
    for prompt in prompts:
        for name in prompt.names(None):
            check_name(name)
    return prompts


def chosen(prompts: Sequence[Prompt], *, dimensions: Sequence[str] = (), limit: int | None = None) -> list[Prompt]:
    """The first `limit` prompts that belong to any of the dimensions; all where nothing is asked for.

    Raises:
        ValueError: naming the dimensions there are, when none of the prompts is left.
    """
    wanted = set(dimensions) or {dimension for prompt in prompts for dimension in prompt.dimensions}
    kept = [prompt for prompt in prompts if wanted & set(prompt.dimensions)][:limit]
    if not kept:
        known = ", ".join(sorted({dimension for prompt in prompts for dimension in prompt.dimensions}))
        raise ValueError(
            f"no prompt belongs to {', '.join(sorted(wanted)) or 'any dimension'}; there are {known or 'none'}"
        )
    return kept


def dimensions_of(prompts: Sequence[Prompt], wanted: Sequence[str]) -> tuple[str, ...]:
    """The dimensions to score: those that are wanted, else all that the prompts belong to, each once."""
    return tuple(dict.fromkeys(wanted or [dimension for prompt in prompts for dimension in prompt.dimensions]))


def image_folder(images: Path, engine: Engine) -> tuple[Path, str]:
    """VBench-I2V's images of the shape nearest to the model's picture, and that shape's name.

    Args:
        images: `vbench2_beta_i2v/data/crop`, which has a folder per shape, or a folder that holds images itself.
        engine: tells the model's size.
    """
    wanted = engine.manifest.defaults.width / engine.manifest.defaults.height
    ratio = min(RATIOS, key=lambda name: abs(RATIOS[name] - wanted))
    return (images / ratio if (images / ratio).is_dir() else images), ratio


def write_videos(
    folder: ClipFolder,
    prompts: Sequence[Prompt],
    *,
    images: Path | None,
    samples: int | None,
    say: Callable[[str], None],
) -> int:
    """Generate all videos that aren't there yet, and `FULL_INFO` beside their folder.

    Args:
        folder: where they belong; its seed gives every video its own.
        prompts: of one suite.
        images: folder of VBench-I2V's first frames; None for text to video.
        samples: videos per prompt; None for what VBench asks for.
        say: receives progress, one line at a time.

    Returns:
        How many videos there are now for these prompts.

    Raises:
        ValueError: when the suite is for another kind of model, an image is missing, or a prompt is too long.
    """
    check(folder.engine, prompts, images)
    entries = [prompt.entry for prompt in prompts]
    (folder.videos.parent / FULL_INFO).write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")
    work = dict(_work(prompts, samples))
    for number, (name, prompt) in enumerate(work.items(), start=1):
        if not folder.has(name):
            folder.make(name, image=_image(images, prompt), prompt=prompt.text)
        say(f"{number}/{len(work)} {name}")
    return len(work)


def _work(prompts: Sequence[Prompt], samples: int | None) -> Iterator[tuple[str, Prompt]]:
    """(name, prompt) of every video; VBench lists a few prompts twice, for different dimensions."""
    return ((name, prompt) for prompt in prompts for name in prompt.names(samples))


def _image(images: Path | None, prompt: Prompt) -> Image.Image | None:
    if images is None or prompt.image_name is None:
        return None
    with Image.open(images / prompt.image_name) as image:
        return image.convert("RGB")


def check(engine: Engine, prompts: Sequence[Prompt], images: Path | None) -> None:
    """Find out before any work whether all videos can be made.

    Raises:
        ValueError: see `write_videos`.
    """
    suite = TEXT if images is None else IMAGE
    if engine.manifest.task != TASKS[suite]:
        other = IMAGE if suite == TEXT else TEXT
        raise ValueError(f"{engine.manifest.name} is {engine.manifest.task}, suite {suite} is not; take suite {other}")
    if images is None:
        _check_lengths(engine, prompts)
    else:
        _check_images(images, prompts)


def _check_lengths(engine: Engine, prompts: Sequence[Prompt]) -> None:
    most = engine.manifest.limits.max_prompt_tokens
    long = [p.text for p in prompts if most is not None and engine.count_tokens(p.text) > most]
    if long:
        raise ValueError(
            f"{len(long)} of {len(prompts)} prompts are longer than the {most} tokens that {engine.manifest.name} "
            f"reads, first {long[0]!r}; leave those out"
        )


def _check_images(images: Path, prompts: Sequence[Prompt]) -> None:
    unnamed = [p.text for p in prompts if p.image_name is None]
    if unnamed:
        raise ValueError(f"{unnamed[0]!r} has no image_name; give VBench-I2V's list, vbench2_i2v_full_info.json")
    missing = [p.image_name for p in prompts if p.image_name and not (images / p.image_name).is_file()]
    if missing:
        raise ValueError(
            f"{images} lacks {len(missing)} of {len(prompts)} images, first {missing[0]!r}; fetch them with "
            "vbench2_beta_i2v/download_data.sh of VBench's repository and give its data/crop folder"
        )
