"""The dry run behind `vdmini-compress plan`: what a plan removes, what it leaves, and what both cost.

No weights are read or allocated: teachers come from their configs. It leaves the rules to `vdmini.plan`, the counting
to `vdmini.cost`, and says nothing about speed, which has to be measured.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from vdmini.cost import VAE_CLASSES, ModelCost, StageCost, empty_vae, unet_cost, vae_decoder_cost
from vdmini.families import FAMILY_NAMES, family_named
from vdmini.plan import PlanError, PruningPlan
from vdmini.student import empty_student, empty_unet, stock_layers_per_block, unet_classes
from vdmini_compress.teachers import image_to_video, text_to_video

SMALL_TEACHERS = {"small-i2v": image_to_video, "small-t2v": text_to_video}
"""Names of the small teachers, which are known without their folders."""

SMALL_PIXELS, SMALL_FRAMES = 64, 8


class PlanningError(ValueError):
    """A model or a clip size for which no plan can be drawn up."""


@dataclass(frozen=True)
class Subject:
    """A teacher to plan for, on the meta device.

    Args:
        name: what the user called it.
        unet: the teacher's U-Net.
        vae: its VAE, or None where the folder has none; latents are then taken to be an eighth of the pixels.
        width: default width of a clip in pixels.
        height: default height in pixels.
        num_frames: default number of frames.
    """

    name: str
    unet: Any
    vae: Any | None
    width: int
    height: int
    num_frames: int

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels a latent is wide."""
        return 8 if self.vae is None else 2 ** (len(self.vae.config["block_out_channels"]) - 1)


@dataclass(frozen=True)
class PlanReport:
    """What a plan does to a teacher.

    Args:
        model: the teacher's name.
        plan: the preset's name, or "list".
        removed: the blocks that go, by teacher names.
        student_class: class name of the student.
        loads_in_stock_diffusers: whether diffusers loads the student without vdmini.
        size: width and height in pixels and number of frames of the clip that was counted.
        teacher: cost of the teacher's U-Net, one forward pass.
        student: cost of the student's U-Net.
        vae_decoder: cost of decoding the clip, or None.
    """

    model: str
    plan: str
    removed: tuple[str, ...]
    student_class: str
    loads_in_stock_diffusers: bool
    size: tuple[int, ...]
    teacher: ModelCost
    student: ModelCost
    vae_decoder: ModelCost | None

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data for JSON; bytes are float16."""
        width, height, num_frames = self.size
        return {
            "model": self.model,
            "plan": self.plan,
            "removed_blocks": list(self.removed),
            "student_class": self.student_class,
            "loads_in_stock_diffusers": self.loads_in_stock_diffusers,
            "width": width,
            "height": height,
            "num_frames": num_frames,
            "teacher": _cost_as_dict(self.teacher),
            "student": _cost_as_dict(self.student),
            "vae_decoder": None if self.vae_decoder is None else _cost_as_dict(self.vae_decoder),
        }


def plan_report(
    subject: Subject,
    plan: str | Sequence[str],
    *,
    width: int | None = None,
    height: int | None = None,
    num_frames: int | None = None,
) -> PlanReport:
    """Work out what a plan does to a teacher.

    Args:
        subject: the teacher, see `find_subject`.
        plan: a preset's name, or teacher block names.
        width: of the clip in pixels; None means the teacher's.
        height: in pixels; None means the teacher's.
        num_frames: None means the teacher's.

    Raises:
        PlanError: the plan does not fit the teacher.
        PlanningError: the size is not one that the VAE can make.
    """
    asked, usual = (width, height, num_frames), (subject.width, subject.height, subject.num_frames)
    size = tuple(default if value is None else value for value, default in zip(asked, usual, strict=True))
    latents = _latents(subject, size)
    pruning = PruningPlan.preset(plan, subject.unet) if isinstance(plan, str) else PruningPlan.of(plan)
    config = subject.unet.config
    student = empty_student(type(subject.unet), config, pruning)
    stock = stock_layers_per_block(type(subject.unet), config, pruning) is not None
    return PlanReport(
        model=subject.name,
        plan=plan if isinstance(plan, str) else "list",
        removed=pruning.removed,
        student_class=type(student).__name__,
        loads_in_stock_diffusers=stock and type(student).__module__.startswith("diffusers."),
        size=size,
        teacher=unet_cost(subject.unet, **latents),
        student=unet_cost(student, **latents),
        vae_decoder=None if subject.vae is None else vae_decoder_cost(subject.vae, **latents),
    )


def find_subject(family_or_folder: str) -> Subject:
    """Find a teacher by the name of a full-size family, of a small teacher, or by its folder.

    Args:
        family_or_folder: one of `vdmini.families.FAMILY_NAMES`, `small-i2v`, `small-t2v`, a diffusers pipeline
            folder (`unet/config.json` and perhaps `vae/config.json`), or the folder of a U-Net (`config.json`).

    Raises:
        PlanningError: it is none of these, or its U-Net's class is unknown.
    """
    if family_or_folder in FAMILY_NAMES:
        family = family_named(family_or_folder)
        full, usual = family.full_size, family.full_size.defaults
        unet, vae = empty_unet(family.unet_class, full.unet), empty_vae(full.vae_class, full.vae)
        return Subject(family_or_folder, unet, vae, usual.width, usual.height, usual.num_frames)
    if family_or_folder in SMALL_TEACHERS:
        small = SMALL_TEACHERS[family_or_folder]
        return Subject(
            family_or_folder, small.build_unet(), small.build_vae(), SMALL_PIXELS, SMALL_PIXELS, SMALL_FRAMES
        )
    return _folder_subject(Path(family_or_folder))


def print_report(report: PlanReport, console: Console) -> None:
    """Print a report as a table."""
    width, height, num_frames = report.size
    console.print(
        f"[bold]{escape(report.model)}[/bold], plan {report.plan}: {num_frames} frames of {width}x{height}, batch 1"
    )
    console.print(f"removed: {', '.join(report.removed) or 'nothing'}")
    console.print(_table(report))
    stock = "stock diffusers loads it" if report.loads_in_stock_diffusers else "loads with vdmini imported"
    console.print(f"student: {report.student_class} ({stock})")
    for name, cost in (("teacher", report.teacher), ("student", report.student), ("VAE decoder", report.vae_decoder)):
        if cost is not None:
            size = f"{cost.size_bytes(torch.float16) / 1e6:,.1f} MB in float16"
            console.print(f"{name}: {_millions(cost.parameters)} M parameters, {size}, {_flops(cost.flops)}")
    console.print("FLOPs are not a speed: measure that with `vdmini-compress run`.")


def run_plan(
    family_or_folder: str,
    plan: str | list[str],
    *,
    width: int | None = None,
    height: int | None = None,
    num_frames: int | None = None,
    as_json: bool = False,
) -> int:
    """Print what a plan does: the body of `vdmini-compress plan`.

    Args:
        family_or_folder: see `find_subject`.
        plan: a preset's name, or teacher block names.
        width: see `plan_report`.
        height: see `plan_report`.
        num_frames: see `plan_report`.
        as_json: print one JSON object instead of the table.

    Returns:
        The exit status: 0, or 1 for a plan, a model or a size that is refused, with the reason on stderr.
    """
    try:
        report = plan_report(find_subject(family_or_folder), plan, width=width, height=height, num_frames=num_frames)
    except (PlanningError, PlanError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=2) + "\n")
    else:
        print_report(report, Console())
    return 0


def _latents(subject: Subject, size: Sequence[int]) -> dict[str, int]:
    width, height, num_frames = size
    step = subject.pixels_per_latent
    for name, value in (("width", width), ("height", height)):
        if value < step or value % step:
            raise PlanningError(f"{name} {value} is not a positive multiple of {step}, the VAE's pixels per latent")
    if num_frames < 1:
        raise PlanningError(f"num_frames {num_frames} is not positive")
    return {"num_frames": num_frames, "height": height // step, "width": width // step}


def _folder_subject(folder: Path) -> Subject:
    names = ", ".join([*FAMILY_NAMES, *SMALL_TEACHERS])
    unet_file = next((f for f in (folder / "unet/config.json", folder / "config.json") if f.is_file()), None)
    if unet_file is None:
        raise PlanningError(f"{folder} is neither a model's name ({names}) nor a folder with unet/config.json")
    unet_config = _read_config(unet_file)
    unet = empty_unet(_class_of(unet_config, unet_classes(), unet_file), unet_config)
    vae = None
    vae_file = folder / "vae/config.json"
    if vae_file.is_file():
        vae_config = _read_config(vae_file)
        vae = empty_vae(_class_of(vae_config, VAE_CLASSES, vae_file), vae_config)
    step = 8 if vae is None else 2 ** (len(vae.config["block_out_channels"]) - 1)
    own = unet.config.get("sample_size") or 64
    height, width = own if isinstance(own, list | tuple) else (own, own)
    frames = int(unet.config.get("num_frames") or 16)
    return Subject(folder.name, unet, vae, step * int(width), step * int(height), frames)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanningError(f"{file} is not a readable JSON file: {error}") from error
    if not isinstance(config, dict):
        raise PlanningError(f"{file} holds no JSON object; give the folder of a diffusers model")
    return config


def _class_of(config: Mapping[str, Any], classes: Mapping[str, type[nn.Module]], file: Path) -> type[nn.Module]:
    name = str(config.get("_class_name"))
    if name not in classes:
        raise PlanningError(f"{file} is of class {name}; known are {', '.join(classes)}")
    return classes[name]


def _cost_as_dict(cost: ModelCost) -> dict[str, Any]:
    stages = {name: {"parameters": stage.parameters, "flops": stage.flops} for name, stage in cost.stages.items()}
    total = {"parameters": cost.parameters, "flops": cost.flops, "bytes_float16": cost.size_bytes(torch.float16)}
    return total | {"stages": stages}


def _table(report: PlanReport) -> Table:
    table = Table("stage", title="U-Net, one forward pass")
    for title in ("parameters (M)", "after", "FLOPs", "after"):
        table.add_column(title, justify="right")
    for name, before in report.teacher.stages.items():
        table.add_row(name, *_cells(before, report.student.stages[name]))
    table.add_section()
    totals = [StageCost(cost.parameters, cost.flops) for cost in (report.teacher, report.student)]
    table.add_row("all", *_cells(*totals))
    return table


def _cells(before: StageCost, after: StageCost) -> tuple[str, str, str, str]:
    return _millions(before.parameters), _millions(after.parameters), _flops(before.flops), _flops(after.flops)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:,.{1 if parameters >= 1e7 else 3}f}" if parameters else "-"


def _flops(flops: int) -> str:
    for unit, name in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if flops >= unit / 10:
            return f"{flops / unit:.2f} {name}"
    return f"{flops} FLOP" if flops else "-"
