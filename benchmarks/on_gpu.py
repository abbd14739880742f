"""Everything that only a GPU can measure, one process after the other, what is worth most first.

    python benchmarks/on_gpu.py --output runs/gpu              # the same as `make gpu`
    python benchmarks/on_gpu.py --output runs/rehearsal --rehearse

A measurement whose record is there already is left out, so that a run that was cut off goes on where it was. One that
fails or takes too long is told at the end and keeps no other from being tried; what it printed lies beside its record.
`--rehearse` runs the same scripts on the CPU with models that are as narrow as can be: they should run to their end
before a GPU is paid for. Records are kept by copying them to benchmarks/results.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
NARROW = ("--device", "cpu", "--width", "64", "--frames", "2", "--size")


@dataclass(frozen=True)
class Measurement:
    """One script's run.

    Args:
        name: of its record.
        words: the command after `python`.
        seconds: it is stopped after so long.
        rehearsal: what is added to the command on a CPU; None where nothing can be rehearsed there.
    """

    name: str
    words: tuple[str, ...]
    seconds: int
    rehearsal: tuple[str, ...] | None

    def command(self, output: Path, *, rehearse: bool) -> list[str]:
        """The whole command; its record goes to `output`."""
        more = self.rehearsal if rehearse and self.rehearsal else ()
        return [sys.executable, *self.words, *more, "--output", str(output)]


def clips(name: str, family: str, size: tuple[str, str] = ("64", "64")) -> Measurement:
    """Whole clips of a family, and how their time grows."""
    words = ("benchmarks/full_size_clips.py", family, "--scaling")
    return Measurement(name, words, 400, (*NARROW, *size, "--decoder-latency", "0.9"))


def training(name: str, recipe: str) -> Measurement:
    """Memory and seconds of a training step."""
    words = ("benchmarks/train_step.py", f"compression/recipes/{recipe}.yaml")
    return Measurement(name, words, 240, (*NARROW, "64x64", "--steps", "2"))


def switches(name: str, family: str) -> Measurement:
    """What each switch is worth, and which kernels take the time."""
    words = ("benchmarks/full_size_switches.py", family, "--seconds", "300")
    return Measurement(name, words, 420, (*NARROW, "64", "64", "--runs", "3"))


MEASUREMENTS = (
    clips("svd-clips", "svd"),
    training("svd-training", "svd-i2v"),
    training("t2v-turbo-v2-training", "t2v-turbo-v2"),
    clips("videocrafter2-clips", "videocrafter2"),
    switches("svd-switches", "svd"),
    switches("videocrafter2-switches", "videocrafter2"),
    Measurement("full-size-unets", ("benchmarks/full_size.py",), 300, None),
)


def tests() -> bool:
    """Whether `tests/gpu` passes."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    return subprocess.run(words, cwd=ROOT, check=False).returncode == 0  # noqa: S603


def measured(one: Measurement, folder: Path, *, rehearse: bool) -> str:
    """Run one; how it went, in words."""
    record, log = folder / f"{one.name}.json", folder / f"{one.name}.log"
    if record.exists():
        return "was there"
    if rehearse and one.rehearsal is None:
        return "needs a GPU"
    begin = time.monotonic()
    partial = folder / f"{one.name}.part"
    with log.open("w") as said:
        try:
            ended = subprocess.run(  # noqa: S603
                one.command(partial, rehearse=rehearse),
                cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, timeout=one.seconds, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"failed: stopped after {one.seconds} s; see {log}"
    if ended:
        return f"failed: exit code {ended}; see {log}"
    partial.rename(record)
    return f"measured in {time.monotonic() - begin:.0f} s"


def main() -> int:
    """Run what the command line asks for."""
    names = [one.name for one in MEASUREMENTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets a record and a log each")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rehearse", action="store_true", help="narrow models on the CPU")
    parser.add_argument("--no-tests", action="store_true", help="leave tests/gpu out")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        parser.error("no GPU was found; --rehearse runs narrow models on the CPU")
    folder = arguments.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    for one in (one for one in MEASUREMENTS if one.name in arguments.only):
        outcomes[one.name] = measured(one, folder, rehearse=arguments.rehearse)
        print(f"{one.name}: {outcomes[one.name]}", flush=True)
    if not arguments.rehearse and not arguments.no_tests:
        outcomes["tests/gpu"] = "passed" if tests() else "failed"
        print(f"tests/gpu: {outcomes['tests/gpu']}", flush=True)
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
