"""The dry run of a whole recipe: what is removed, what that leaves, and what making it takes.

The counting is left to `vdmini_compress.planning` and `vdmini_compress.estimate`. No weights are needed: where the
teacher's folder isn't there, the recipe's family says what its published configuration is.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vdmini.artifact import ArtifactError, read_manifest, weight_bytes
from vdmini.chunks import frames_at_once
from vdmini.families import FAMILY_NAMES, family_named
from vdmini.plan import PlanError, PruningPlan
from vdmini.student import empty_student
from vdmini_compress.budget import Budget, search
from vdmini_compress.dry_run import Size
from vdmini_compress.estimate import FLOAT16, TFLOPS, Estimate, Model, estimate
from vdmini_compress.importance import read_report
from vdmini_compress.planning import PlanningError, PlanReport, Subject, find_subject, plan_report, print_report
from vdmini_compress.preflight import gibibytes
from vdmini_compress.recipe import Recipe, RecipeError, load_recipe
from vdmini_compress.units import UnitCosts

ENCODERS = ("image_encoder", "text_encoder")


@dataclass(frozen=True)
class Planned:
    """A recipe's dry run.

    Args:
        report: what the plan does to the teacher.
        wanted: what the recipe takes.
        note: where the teacher's configuration comes from.
    """

    report: PlanReport
    wanted: Estimate
    note: str


def plan_recipe(recipe: Recipe, *, tflops: float = TFLOPS, processes: int = 1) -> Planned:
    """Work out what a recipe does and takes.

    Args:
        recipe: with absolute folders, see `load_recipe`.
        tflops: assumed speed of training in TFLOP/s.
        processes: how many train together.

    Raises:
        PlanningError: when neither the teacher's folder nor its family is known, or it has no VAE.
        PlanError: when the plan doesn't fit the teacher.
    """
    family, subject, encoders, note = _teacher(recipe)
    if subject.vae is None:
        raise PlanningError(f"{recipe.teacher} has no vae/config.json; give the folder of a whole pipeline")
    plan = _plan(recipe, subject)
    report = plan_report(subject, plan)
    pruning = PruningPlan.preset(plan, subject.unet) if isinstance(plan, str) else PruningPlan.of(plan)
    student = empty_student(type(subject.unet), subject.unet.config, pruning)
    model = Model(
        family, subject.unet, student, subject.vae, encoders, _training(recipe, subject), _decoded(recipe, subject)
    )
    return Planned(report, estimate(recipe, model, tflops=tflops, processes=processes), note)


def _plan(recipe: Recipe, subject: Subject) -> str | tuple[str, ...]:
    """A budget is searched in the recipe's importance report, as the job does it."""
    if not isinstance(recipe.plan, str) or "=" not in recipe.plan:
        return recipe.plan
    if recipe.importance is None:
        raise PlanningError(
            f"plan {recipe.plan} is a budget, which is searched in measurements of the teacher; give the "
            "importance.json of `vdmini-compress analyze TEACHER` as the recipe's importance"
        )
    size = _latents(subject, subject.width, subject.height, subject.num_frames)
    costs = UnitCosts.of(subject.unet, num_frames=size.num_frames, height=size.height, width=size.width)
    teacher = read_manifest(recipe.teacher).teacher if recipe.teacher.is_dir() else None
    try:
        found = search(read_report(recipe.importance, teacher), subject.unet, costs, Budget.parse(recipe.plan))
    except ValueError as error:
        raise PlanningError(str(error)) from error
    return found.plan.removed


def _teacher(recipe: Recipe) -> tuple[str, Subject, int, str]:
    """Family, teacher, parameters of its image or text encoder, and where all that comes from."""
    folder = recipe.teacher
    if folder.is_dir():
        manifest = read_manifest(folder)
        found, defaults = find_subject(str(folder)), manifest.defaults
        sized = replace(found, width=defaults.width, height=defaults.height, num_frames=defaults.num_frames)
        stored = sum(weight_bytes(folder / part) for part in ENCODERS)
        return manifest.family, sized, stored // FLOAT16, f"teacher: {folder}"
    family = recipe.family
    if family not in FAMILY_NAMES:
        raise PlanningError(
            f"there is no folder {folder}, and the recipe's family is {family}; make the teacher first, or name "
            f"its family: {', '.join(FAMILY_NAMES)}"
        )
    full = family_named(family).full_size
    note = f"there is no folder {folder} yet: counted is the published {family}"
    videos, found = recipe.data.videos, find_subject(family)
    frames = videos.num_frames if videos and videos.num_frames else found.num_frames
    return family, replace(found, name=recipe.teacher.name, num_frames=frames), full.encoder_parameters, note


def _training(recipe: Recipe, subject: Subject) -> Size:
    """A training clip's latents."""
    videos = recipe.data.videos
    width, height, frames = (
        (videos and getattr(videos, name)) or getattr(subject, name) for name in ("width", "height", "num_frames")
    )
    return _latents(subject, width, height, frames)


def _decoded(recipe: Recipe, subject: Subject) -> Size | None:
    """What the decoder is healed on at a time."""
    wanted = recipe.decoder
    if wanted is None or wanted.taken_from is not None:
        return None
    chunk = min(subject.num_frames, frames_at_once(subject.width, subject.height))
    whole = _latents(subject, subject.width, subject.height, min(wanted.frames or chunk, subject.num_frames))
    return whole if wanted.window is None else replace(whole, height=wanted.window, width=wanted.window)


def _latents(subject: Subject, width: int, height: int, frames: int) -> Size:
    scale = subject.pixels_per_latent
    return Size(frames, int(subject.unet.config["out_channels"]), height // scale, width // scale)


def run_recipe_plan(
    path: Path, changes: list[str], *, tflops: float = TFLOPS, processes: int = 1, as_json: bool = False
) -> int:
    """Print a recipe's dry run: the body of `vdmini-compress plan RECIPE`.

    Args:
        path: the recipe.
        changes: settings that replace the file's.
        tflops: see `plan_recipe`.
        processes: see `plan_recipe`.
        as_json: print one JSON object instead of tables.

    Returns:
        The exit status: 0, or 1 for what is refused, with the reason on stderr.
    """
    try:
        planned = plan_recipe(load_recipe(path, changes), tflops=tflops, processes=processes)
    except (PlanningError, PlanError, RecipeError, ArtifactError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if as_json:
        told = planned.report.as_dict() | {"note": planned.note, "estimate": planned.wanted.as_dict()}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        print_plan(planned, Console())
    return 0


def print_plan(planned: Planned, console: Console) -> None:
    """Print a recipe's dry run as tables."""
    wanted = planned.wanted
    console.print(escape(planned.note), soft_wrap=True)
    print_report(planned.report, console)
    title = "Memory of a training step, each process"
    console.print(_table(title, wanted.memory, "all", wanted.memory_bytes))
    other = "without" if wanted.checkpointing else "with"
    console.print(f"{other} gradient checkpointing: {gibibytes(wanted.other_bytes)}")
    if wanted.decoder_memory is not None:
        console.print(f"while the decoder is healed: {gibibytes(wanted.decoder_memory)}")
    hours = wanted.seconds_per_step * wanted.steps / 3600
    console.print(
        f"time: {wanted.step_flops / 1e12:,.3g} TFLOP a step, {wanted.seconds_per_step:.3g} s at an assumed "
        f"{wanted.tflops:g} TFLOP/s (--tflops changes it); {wanted.steps:,} steps take {hours:,.1f} hours"
    )
    console.print(_table("Disk", wanted.disk, "at most", wanted.disk_bytes))


def _table(title: str, parts: Mapping[str, int], total_name: str, total: int) -> Table:
    table = Table("", title=title)
    table.add_column("", justify="right")
    for name, size in parts.items():
        table.add_row(name, gibibytes(size))
    table.add_section()
    table.add_row(total_name, gibibytes(total))
    return table
