"""`vdmini-compress`: the command line of the job."""

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vdmini.artifact import ArtifactError
from vdmini.manifest import Manifest
from vdmini.plan import PlanError
from vdmini_compress.recipe import RecipeError

if TYPE_CHECKING:
    from vdmini_compress.importance import ImportanceReport

Command = Callable[[argparse.Namespace, Console], int]

LEAST_CLIPS = 4
"""Fewer held-out clips say nothing of a model."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; errors that a user can mend become one line and exit code 1."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torchvision is missing; we need none
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    run: Command = arguments.command
    try:
        return run(arguments, console)
    except (ArtifactError, PlanError, RecipeError, ValueError, FloatingPointError) as error:
        console.print(f"[red]error:[/] {error}", markup=True)
    except OSError as error:
        full = (
            " (the disk is full: free some space and run the same command again)" if error.errno == errno.ENOSPC else ""
        )
        console.print(f"error: {error}{full}", markup=False)
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to resume")
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vdmini-compress", description="Compress a video diffusion model.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_plan(commands)
    _add_analyze(commands)
    _add_evaluate(commands)
    _add_train_teacher(commands)
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    """What argparse calls to read a whole number that must not be smaller."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; give {least} or more")
        return value

    number.__name__ = "whole number"
    return number


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="prune, heal, evaluate, measure and save: a recipe becomes an artifact")
    run.add_argument("recipe", type=Path, metavar="RECIPE", help="such as compression/recipes/small-i2v.yaml")
    run.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the artifact goes")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as distill.steps=800")
    run.add_argument("--json", action="store_true", help="print the artifact's vdmini.json on standard output")
    run.set_defaults(command=_run)


def _add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser("plan", help="show what a plan removes and what it leaves, without loading weights")
    plan.add_argument("model", metavar="MODEL", help="svd, videocrafter2, or the folder of a teacher")
    plan.add_argument(
        "--plan", nargs="+", default=["paper"], metavar="NAME", help="a preset (paper, all-pairs, none) or blocks"
    )
    plan.add_argument("--width", type=_at_least(1), default=None, help="in pixels; the model's own by default")
    plan.add_argument("--height", type=_at_least(1), default=None)
    plan.add_argument("--num-frames", type=_at_least(1), default=None)
    plan.add_argument("--json", action="store_true", help="print JSON on standard output")
    plan.set_defaults(command=_plan)


def _add_analyze(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    analyze = commands.add_parser(
        "analyze", help="switch each block of a small teacher off once: what is lost, what is saved (minutes)"
    )
    analyze.add_argument("teacher", type=Path, metavar="TEACHER", help="such as compression/teachers/small-i2v")
    analyze.add_argument("--output", type=Path, required=True, metavar="DIR", help="for importance.json and .png")
    analyze.add_argument(
        "--clips", type=_at_least(LEAST_CLIPS), default=16, help="held-out clips per block (default 16)"
    )
    analyze.add_argument("--seed", type=_at_least(0), default=0, help="picks the clips and seeds the noise (default 0)")
    analyze.add_argument("--runs", type=_at_least(20), default=20, help="paired forward passes per block (default 20)")
    analyze.add_argument("--json", action="store_true", help="print importance.json on standard output")
    analyze.set_defaults(command=_analyze)


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    evaluate = commands.add_parser("evaluate", help="measure content and motion on held-out clips of the small world")
    evaluate.add_argument("artifact", type=Path, metavar="DIR", help="a teacher or a student")
    evaluate.add_argument("--clips", type=_at_least(LEAST_CLIPS), default=64, help="how many (default 64)")
    evaluate.add_argument(
        "--seed", type=_at_least(0), default=0, help="picks the clips and seeds the noise (default 0)"
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON on standard output")
    evaluate.set_defaults(command=_evaluate)


def _add_train_teacher(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = commands.add_parser(
        "train-teacher", help="train a small teacher from nothing (an hour or more on two cores)"
    )
    train.add_argument("name", choices=["small-i2v", "small-t2v"], help="which teacher")
    train.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the teacher goes")
    train.add_argument("--start-from", type=Path, metavar="DIR", help="train on from this earlier teacher's weights")
    train.add_argument("--fresh-denoiser", action="store_true", help="with --start-from: keep the VAE alone")
    train.add_argument("--device", default=None, help="such as cuda:0; the first GPU, else the CPU, by default")
    train.add_argument(
        "--clips", type=_at_least(LEAST_CLIPS), default=200, help="held-out clips for its model card (default 200)"
    )
    train.set_defaults(command=_train_teacher)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    from vdmini_compress.job import Job
    from vdmini_compress.recipe import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.set)
    manifest = Job(recipe, arguments.output.absolute(), lambda line: console.print(line, markup=False)).run()
    if arguments.json:
        sys.stdout.write(manifest.model_dump_json(indent=2) + "\n")
    console.print(_summary(manifest))
    console.print(f"saved {arguments.output}; open {arguments.output / 'report.html'}")
    return 0


def _summary(manifest: Manifest) -> Table:
    timing = manifest.latency[0]
    table = Table(title=f"{manifest.name}: {timing.runs} runs in turn on {timing.device}, {timing.dtype}")
    for heading in ("", "teacher", "vdmini"):
        table.add_column(heading, justify="left" if not heading else "right")
    for stage, value in timing.seconds["teacher"].items():
        table.add_row(f"{stage} (ms)", f"{1000 * value:.1f}", f"{1000 * timing.seconds['vdmini'][stage]:.1f}")
    low, high = timing.speedup_interval
    table.add_row("speed-up", "1", f"{timing.speedup:.2f} ({low:.2f} to {high:.2f})")
    for measure, value in manifest.quality["teacher"].items():
        table.add_row(measure, f"{value:.3f}", f"{manifest.quality['vdmini'][measure]:.3f}")
    return table


def _plan(arguments: argparse.Namespace, _: Console) -> int:
    from vdmini_compress.planning import run_plan

    chosen = arguments.plan[0] if len(arguments.plan) == 1 else arguments.plan
    return run_plan(
        arguments.model,
        chosen,
        width=arguments.width,
        height=arguments.height,
        num_frames=arguments.num_frames,
        as_json=arguments.json,
    )


def _analyze(arguments: argparse.Namespace, console: Console) -> int:
    from vdmini.engine import load_engine
    from vdmini_compress import importance, importance_plot
    from vdmini_compress.blocks import blocks_of
    from vdmini_compress.job import sample_input

    engine = load_engine(arguments.teacher)
    report = importance.analyze(
        engine,
        blocks_of(engine.pipeline.unet),
        sample_input(engine),
        clips=arguments.clips,
        seed=arguments.seed,
        runs=arguments.runs,
        say=lambda line: console.print(line, markup=False),
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "importance.json").write_text(report.model_dump_json(indent=2) + "\n")
    importance_plot.draw(report, arguments.output / "importance.png")
    if arguments.json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    console.print(_importance_table(report))
    console.print(f"saved {arguments.output}; open {arguments.output / 'importance.png'}")
    return 0


def _importance_table(report: "ImportanceReport") -> Table:
    table = Table(
        title=f"{report.teacher.id}: {report.clips} clips, a pass takes {1000 * report.forward_seconds:.1f} ms"
    )
    for heading in ("block off", "content lost", "motion lost (px)", "saved (ms)", "parameters"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for block in report.blocks:
        low, high = (1000 * value for value in block.seconds_saved_interval)
        saved = f"{1000 * block.seconds_saved:.1f} ({low:.1f} to {high:.1f})"
        lost = (f"{block.content_lost:+.4f}", f"{block.motion_lost:+.2f}")
        table.add_row(block.label, *lost, saved, f"{block.parameters:,}")
    return table


def _evaluate(arguments: argparse.Namespace, console: Console) -> int:
    from vdmini.engine import load_engine
    from vdmini_compress.evaluate import evaluate

    scores = evaluate(load_engine(arguments.artifact), count=arguments.clips, seed=arguments.seed)
    if arguments.json:
        sys.stdout.write(json.dumps(scores, indent=2) + "\n")
        return 0
    table = Table(title=f"{arguments.artifact}: {arguments.clips} held-out clips, seed {arguments.seed}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    return 0


def _train_teacher(arguments: argparse.Namespace, console: Console) -> int:
    from vdmini_compress.teachers.card import make_teacher
    from vdmini_compress.teachers.train import Start

    start = Start(arguments.start_from, not arguments.fresh_denoiser) if arguments.start_from else None
    make_teacher(
        arguments.name,
        arguments.output.absolute(),
        device=arguments.device,
        clips=arguments.clips,
        say=lambda line: console.print(line, markup=False),
        start=start,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
