"""Heal one recipe in several ways with several seeds, score every student, and record means and spreads.

    python benchmarks/compare.py compression/recipes/small-t2v.yaml --output benchmarks/results/NAME.json \
        --work runs/losses --seeds 0 1 2 --set distill.steps=80 \
        --way none distill.lambda_output=0 distill.lambda_icd=0 --way icd distill.lambda_output=0 --way both ...

Each student is scored beside its teacher on the same held-out clips; the seed picks the training clips, their noise and
the held-out clips. A comparison that was stopped goes on when the same command runs again.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from provenance import provenance

from vdmini.engine import Engine, load_engine
from vdmini_compress.data import Cache
from vdmini_compress.evaluate import Scores, evaluate
from vdmini_compress.job import Job
from vdmini_compress.pruning import resolve_plan
from vdmini_compress.recipe import load_recipe


@dataclass(frozen=True)
class Trial:
    """One student to heal and score.

    Args:
        way: name of what is tried.
        seed: of training and of the held-out clips.
        recipe: the YAML file.
        changes: settings that replace the file's.
        work: folder of the whole comparison.
    """

    way: str
    seed: int
    recipe: Path
    changes: tuple[str, ...]
    work: Path

    @property
    def result(self) -> Path:
        """Where its scores are kept; it carries a mark of the settings, so that others are measured anew."""
        mark = sha256(json.dumps([str(self.recipe), self.changes]).encode()).hexdigest()[:8]
        return self.work / f"{self.way}-{self.seed}-{mark}.json"

    def scored(self) -> dict[str, Any]:
        """Heal and score it, unless that was done before."""
        if not self.result.exists():
            torch.set_num_threads(1)
            recipe = load_recipe(self.recipe, [*self.changes, f"seed={self.seed}", f"evaluate.seed={self.seed}"])
            scores = Healing(recipe, self.result.with_suffix(""), self._say).scores()
            partial = self.result.with_suffix(".partial")
            partial.write_text(json.dumps(scores))
            os.replace(partial, self.result)
        found: dict[str, Any] = json.loads(self.result.read_text())
        return found

    def _say(self, line: str) -> None:
        print(f"{self.way} {self.seed}: {line}", flush=True)


class Healing(Job):
    """A job that ends with the scores; trials with the same clips share their latents."""

    def scores(self) -> dict[str, Any]:
        """Scores of teacher and student, and what healing took."""
        teacher = load_engine(self.recipe.teacher, dtype="float32")
        plan = resolve_plan(self.recipe.plan, teacher, self._importance(teacher))
        self._prepare(teacher, plan)
        student, seconds = self._student(teacher, plan)
        engine = self._student_engine(teacher, student, plan)
        wanted = self.recipe.evaluate
        return {
            "teacher": self._teacher_scores(teacher),
            "student": evaluate(engine, count=wanted.clips, seed=wanted.seed),
            "removed_blocks": plan.removed,
            "unet_parameters": sum(p.numel() for p in student.parameters()),
            "heal_seconds": round(seconds, 1),
        }

    def _encoded(self, teacher: Engine) -> Cache:
        return self._shared(
            "latents.pt", lambda: super(Healing, self)._encoded(teacher), self.recipe.data.model_dump_json()
        )

    def _teacher_scores(self, teacher: Engine) -> Scores:
        wanted = self.recipe.evaluate
        make = lambda: evaluate(teacher, count=wanted.clips, seed=wanted.seed)  # noqa: E731
        scores: Scores = self._shared("teacher.pt", make, wanted.model_dump_json())
        return scores

    def _shared(self, name: str, make: Any, key: str) -> Any:
        """What is the same in trials of one teacher, seed and key: made by whoever comes first."""
        mark = sha256(f"{self.recipe.teacher} {self.recipe.seed} {key}".encode()).hexdigest()[:12]
        path = self.output.parent / f"shared-{mark}-{name}"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")
            torch.save(make(), partial)
            os.replace(partial, path)
        return torch.load(path, weights_only=True)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of each measure of the students."""
    values = {name: [one["student"][name] for one in found] for name in found[0]["student"]}
    return {
        name: {"mean": round(statistics.fmean(some), 5), "sd": round(statistics.stdev(some), 5)}
        for name, some in values.items()
    }


def trials(arguments: argparse.Namespace) -> Iterator[Trial]:
    """All trials, seed by seed, so that a comparison that is stopped holds whole rounds."""
    for seed in arguments.seeds:
        for way, *changes in arguments.way:
            yield Trial(way, seed, arguments.recipe, (*arguments.set, *changes), arguments.work)


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="keeps what is done")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="extend", nargs="+", default=[], metavar="FIELD=VALUE", help="in every way")
    parser.add_argument("--way", action="append", nargs="+", required=True, metavar=("NAME", "FIELD=VALUE"))
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time, a thread each")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    wanted = list(trials(arguments))
    with ProcessPoolExecutor(arguments.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(Trial.scored, wanted))
    ways = {
        way: {
            "changes": changes,
            "seeds": {t.seed: one for t, one in zip(wanted, found, strict=True) if t.way == way},
            "summary": summary([one for t, one in zip(wanted, found, strict=True) if t.way == way]),
        }
        for way, *changes in arguments.way
    }
    teacher = summary([{"student": one["teacher"]} for one in found[:: len(arguments.way)]])
    record = {"recipe": arguments.recipe.name, "set": arguments.set, "teacher": teacher, "ways": ways}
    command = shlex.join(["python", *sys.argv])
    arguments.output.write_text(json.dumps(provenance(command) | record, indent=2) + "\n")
    for way, one in ways.items():
        print(way, {name: f"{v['mean']:.4f}±{v['sd']:.4f}" for name, v in one["summary"].items()})


if __name__ == "__main__":
    main()
