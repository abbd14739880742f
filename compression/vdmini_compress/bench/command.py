"""`vdmini-compress bench`: how fast a student is, beside its teacher and plain diffusers."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vdmini_compress.commands.numbers import at_least

if TYPE_CHECKING:
    from vdmini.engine import Engine
    from vdmini_compress.bench.contenders import Contender
    from vdmini_compress.bench.report import BenchReport

NAME = "bench"
HELP = "time a student beside its teacher and plain diffusers, stage by stage, in one process"
EXAMPLES = """\
{prog} compression/artifacts/small-i2v --teacher compression/teachers/small-i2v --output runs/bench
{prog} runs/mine --teacher teachers/svd --output runs/bench --switches --scaling
"""

LEAST_RUNS = 20


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("student", type=Path, metavar="STUDENT", help="artifact of the compressed model")
    parser.add_argument("--teacher", type=Path, required=True, metavar="DIR", help="artifact of its teacher")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets bench.json and bench.png")
    parser.add_argument("--runs", type=at_least(LEAST_RUNS), default=LEAST_RUNS, help="rounds (default %(default)s)")
    parser.add_argument("--device", default=None, help="torch device; the first GPU, else the CPU, by default")
    parser.add_argument("--dtype", default=None, help="float32, float16 or bfloat16; what suits the device by default")
    parser.add_argument("--switches", action="store_true", help="also what each switch of our engine is worth alone")
    parser.add_argument("--compiled", action="store_true", help="try torch.compile among the switches; takes minutes")
    parser.add_argument("--scaling", action="store_true", help="also how time grows with frames, size, steps and clips")
    parser.add_argument("--json", action="store_true", help="print the report on standard output")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini_compress.bench import picture
    from vdmini_compress.bench.report import switch_table, table_of

    report = _bench(arguments, console)
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = report.model_dump_json(indent=2) + "\n"
    (arguments.output / "bench.json").write_text(text)
    made = f"{report.num_frames} frames of {report.width}x{report.height}, {report.device}, {report.dtype}"
    picture.draw(report.contenders, made, arguments.output / "bench.png")
    if arguments.json:
        sys.stdout.write(text)
        return 0
    console.print(table_of(report))
    if report.switches:
        console.print(switch_table(report))
    console.print(f"saved {arguments.output / 'bench.json'}; open {arguments.output / 'bench.png'}")
    return 0


def _bench(arguments: argparse.Namespace, console: Console) -> "BenchReport":
    from vdmini.engine import pick_device, pick_dtype
    from vdmini.switches import settings_for
    from vdmini_compress.bench.contenders import contenders
    from vdmini_compress.bench.matmul import matmul_rate
    from vdmini_compress.bench.measure import measure
    from vdmini_compress.material import sample_input

    device = pick_device(arguments.device)
    runtime = settings_for(device)
    rivals = contenders(arguments.teacher, arguments.student, runtime, device=arguments.device, dtype=arguments.dtype)
    student = next(rival.engine for rival in rivals if rival.name == "vdmini")
    conditions = sample_input(student)
    rate = matmul_rate(device, pick_dtype(arguments.dtype, device))
    with console.status("timing") as status:
        say = lambda line: status.update(f"timing: {line}")  # noqa: E731
        found = measure(rivals, conditions, runs=arguments.runs, rate=rate, say=say)
        more: dict[str, Any] = {}
        if arguments.switches or arguments.compiled:
            more["switches"] = _switches(arguments, rivals, conditions, say)
        if arguments.scaling:
            more["scaling"] = _scaling(rivals, conditions, say)
    return _report(student, runtime, arguments, rate, found, more)


def _switches(arguments: argparse.Namespace, rivals: "list[Contender]", conditions: Any, say: Any) -> Any:
    from functools import partial

    from vdmini.engine import load_engine
    from vdmini_compress.bench.switches import candidates, switch_worth

    plain = next(rival.engine for rival in rivals if rival.name == "stock")
    wanted = candidates(plain.torch_device, compiled=arguments.compiled)
    load = partial(load_engine, arguments.teacher, device=str(plain.torch_device), dtype=plain.dtype)
    return tuple(switch_worth(load, settings, plain, conditions, runs=arguments.runs, say=say) for settings in wanted)


def _scaling(rivals: "list[Contender]", conditions: Any, say: Any) -> Any:
    from vdmini_compress.bench.scaling import points

    compared = [rival for rival in rivals if rival.name in ("teacher", "vdmini")]
    return {rival.name: tuple(points(rival.engine, conditions, say)) for rival in compared}


def _report(
    student: "Engine", runtime: Any, arguments: argparse.Namespace, rate: float, found: Any, more: dict[str, Any]
) -> "BenchReport":
    from datetime import UTC, datetime
    from importlib.metadata import version

    from vdmini_compress.bench.report import BenchReport

    defaults = student.manifest.defaults
    return BenchReport(
        teacher=student.manifest.teacher.id,
        student=student.manifest.name,
        removed_blocks=student.manifest.removed_blocks,
        device=student.device,
        dtype=student.dtype,
        versions={name: version(name) for name in ("torch", "diffusers")},
        runtime=runtime.model_dump(exclude_defaults=True, mode="json"),
        width=defaults.width,
        height=defaults.height,
        num_frames=defaults.num_frames,
        num_inference_steps=defaults.num_inference_steps,
        runs=arguments.runs,
        matmul_flops_per_second=round(rate),
        contenders=found,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    )
