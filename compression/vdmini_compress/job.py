"""The job: prune, distill, evaluate, measure, save.

Every stage keeps its result in a work folder, so that a kill costs little.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vdmini.artifact import ArtifactError, refuse_foreign, replacing, write_manifest
from vdmini.engine import Engine, load_engine
from vdmini.manifest import Latency, Manifest
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini.switches import settings_for
from vdmini.weights import save_pipeline
from vdmini_compress import latency, preflight
from vdmini_compress.data import Cache
from vdmini_compress.decoder.job import MEASURES, DecoderJob, taken
from vdmini_compress.decoder.measure import DecoderMeasures
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.evaluate import Scores
from vdmini_compress.importance import FILE_NAME, ImportanceReport, read_report
from vdmini_compress.material import Material, material_of
from vdmini_compress.pruning import as_served, cost_of, resolve_plan, student_engine, teacher_id, with_vae
from vdmini_compress.recipe import Recipe
from vdmini_compress.reporting import curves, page
from vdmini_compress.samples import Samples
from vdmini_compress.sharding import processes
from vdmini_compress.teachers.autoencoder import SENSITIVITY_CLIPS, decoder_sensitivity
from vdmini_compress.training import Watch

Report = Callable[[str], None]

WATCHED = 3
"""Inputs that are sampled while a student is healed."""


@dataclass(frozen=True)
class Spent:
    """What a job took.

    Args:
        seconds: of healing the U-Net.
        decoder: what was measured on the compressed decoder, healing time included; None where it is the teacher's.
    """

    seconds: float
    decoder: DecoderMeasures | None = None

    def record(self) -> dict[str, Any]:
        """As an artifact's manifest keeps it."""
        made = {"distill_seconds": round(self.seconds, 1), "finished": time.strftime("%Y-%m-%d")}
        return made | ({"decoder_seconds": self.decoder.heal_seconds} if self.decoder else {})


class Job:
    """One compression.

    Args:
        recipe: what to do.
        output: where the artifact goes.
        say: receives progress, one line at a time.
    """

    def __init__(self, recipe: Recipe, output: Path, say: Report) -> None:
        self.recipe, self.output, self.processes = recipe, output, processes()
        self.say = say if self.processes.is_main_process else lambda _: None
        self.work = output.with_name(output.name + ".work")

    def run(self) -> Manifest | None:
        """Do all stages and save the artifact.

        Under `accelerate launch` all processes heal the student, and the first alone does what comes after.

        Returns:
            The artifact's manifest; None in all processes but the first.

        Raises:
            ArtifactError: when the teacher is damaged or the output folder holds something else.
            vdmini.plan.PlanError: when the plan doesn't fit the teacher.
            vdmini_compress.preflight.PreflightError: when disk or memory is too small, before anything is written.
        """
        refuse_foreign(self.output)
        device = str(self.processes.device) if self.processes.num_processes > 1 else None
        teacher = load_engine(self.recipe.teacher, device=device, dtype="float32")
        self._check(teacher)
        self._material(teacher).refuse(teacher, self.recipe)
        plan = resolve_plan(self.recipe.plan, teacher, self._importance(teacher))
        with self.processes.main_process_first():
            self._prepare(teacher, plan)
        student, seconds = self._student(teacher, plan)
        if not self.processes.is_main_process:
            return None
        engine, decoded = self._small_decoder(teacher, self._student_engine(teacher, student, plan))
        served = as_served(teacher), as_served(engine)
        scores = self._scores(*served)
        timing = self._latency(*served)
        shown = page.showcase(*served, self._material(teacher).inputs(teacher, 1)[0])
        manifest = self._save(teacher, engine, scores, timing, Spent(seconds, decoded), shown)
        shutil.rmtree(self.work)
        return manifest

    def _check(self, teacher: Engine) -> None:
        if teacher.manifest.variant != "teacher":
            raise ArtifactError(f"{self.recipe.teacher} is a student already; give its teacher")
        family, wanted = teacher.manifest.family, self.recipe.family
        if wanted not in (None, family):
            raise ArtifactError(f"{self.recipe.teacher} is of family {family}, and the recipe is for {wanted}")
        if self.recipe.decoder and self.recipe.decoder.taken_from:
            taken(self.recipe.decoder.taken_from, teacher.pipeline.vae)  # or it would fail after the healing

    def _prepare(self, teacher: Engine, plan: PruningPlan) -> None:
        """Check disk and memory and open the work folder; one that another recipe left is emptied."""
        wanted = preflight.needs(self.recipe, teacher, plan, processes=self.processes.num_processes)
        preflight.check(wanted, self.output.parent, teacher.torch_device)
        self.say(f"this job {wanted}")
        key = hashlib.sha256(self.recipe.model_dump_json().encode()).hexdigest()
        mark = self.work / "recipe.sha256"
        if mark.exists() and mark.read_text() == key:
            self.say(f"resuming from {self.work}")
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        mark.write_text(key)

    def _material(self, teacher: Engine) -> Material:
        return material_of(self.recipe, teacher, self.work / "clips")

    def _cache(self, teacher: Engine) -> Cache:
        with self.processes.main_process_first():
            return self._encoded(teacher)

    def _encoded(self, teacher: Engine) -> Cache:
        path, wanted, material = self.work / "latents.safetensors", self.recipe.data, self._material(teacher)
        kept = material.encoded(teacher, self.recipe, self.say)
        if kept is not None:
            return kept
        if not path.exists():
            with torch.no_grad():
                cache = material.world.encode(teacher.pipeline, wanted.clips, self.recipe.seed, self.say)
            partial = path.with_suffix(".partial")
            save_file({name: value.contiguous() for name, value in cache.items()}, partial)
            os.replace(partial, path)
        encoded: Cache = load_file(path)
        return encoded

    def _sensitivity(self, teacher: Engine, cache: Cache) -> Tensor:
        vae, some = teacher.pipeline.vae, cache["latents_NFCHW"][:SENSITIVITY_CLIPS]
        with self.processes.main_process_first():
            found = self._kept("sensitivity.json", lambda: decoder_sensitivity(vae, some).tolist())
        return torch.tensor(found)

    def _student(self, teacher: Engine, plan: PruningPlan) -> tuple[Any, float]:
        """The healed student and the seconds its training took."""
        torch.manual_seed(self.recipe.seed)
        student = build_student(teacher.pipeline.unet, plan)
        self.say(f"pruned {len(plan.removed)} blocks: {', '.join(plan.removed)}")
        if self.recipe.distill.steps == 0:
            return student.eval(), 0.0
        cache = self._cache(teacher)
        distillation = Distillation(
            teacher.family,
            teacher.pipeline,
            student,
            self._material(teacher).world,
            cache,
            self._sensitivity(teacher, cache),
            self.recipe.distill,
            encoder=self._encoder(teacher),
        )
        seconds = heal(
            distillation,
            self.work / "distill",
            seed=self.recipe.seed,
            report=lambda line: self.say(f"distill: {line}"),
            watch=self._watch(teacher, self._student_engine(teacher, student, plan)),
        )
        return student, seconds

    def _encoder(self, teacher: Engine) -> Any:
        """The U-Net that the discriminator sees through, or None for the teacher's."""
        folder = self.recipe.distill.encoder
        if folder is None or not self.recipe.distill.lambda_mca:
            return None
        unet = load_engine(folder, device=str(teacher.torch_device), dtype="float32").pipeline.unet
        for key in ("in_channels", "cross_attention_dim"):
            if unet.config[key] != teacher.pipeline.unet.config[key]:
                raise ArtifactError(
                    f"distill.encoder {folder} has {key} {unet.config[key]} and the teacher "
                    f"{teacher.pipeline.unet.config[key]}; give the model that the teacher was made from"
                )
        return unet

    def _watch(self, teacher: Engine, student: Engine) -> Watch | None:
        every, steps = self.recipe.distill.watch_every, self.recipe.distill.steps
        if not every:
            return None
        inputs = self._material(teacher).inputs(teacher, WATCHED)
        samples = Samples(teacher, student, inputs, self.work / "samples", guard_after=max(every, steps // 4))
        return Watch(every, samples.look)

    def _student_engine(self, teacher: Engine, student: Any, plan: PruningPlan) -> Engine:
        return student_engine(teacher, student, plan, self.recipe.name)

    def _small_decoder(self, teacher: Engine, engine: Engine) -> tuple[Engine, DecoderMeasures | None]:
        """The engine with a compressed decoder, if the recipe asks for one."""
        wanted = self.recipe.decoder
        if wanted is None:
            return engine, None
        job = DecoderJob(
            engine,
            wanted,
            self.work / "decoder",
            seed=self.recipe.seed,
            say=lambda line: self.say(f"decoder: {line}"),
            maker=self._material(teacher).films(self.recipe),
        )
        vae, measures = job.run()
        return with_vae(engine, vae), measures

    def _scores(self, teacher: Engine, student: Engine) -> dict[str, Scores]:
        material = self._material(teacher)
        scores: dict[str, Scores] = self._kept(
            "quality.json", lambda: material.scores(teacher, student, self.recipe, self.say)
        )
        return scores

    def _latency(self, teacher: Engine, student: Engine) -> Latency:
        def progress(done: int) -> None:
            if done % 10 == 0:
                self.say(f"latency: {done}/{self.recipe.latency.runs} pairs")

        def measured() -> dict[str, Any]:
            for engine in (teacher, student):
                engine.tune(settings_for(engine.torch_device))  # as they are served
            runs, wanted = self.recipe.latency.runs, self._material(teacher).inputs(teacher, 1)[0]
            return latency.measure(teacher, student, wanted, runs=runs, progress=progress).model_dump()

        return Latency.model_validate(self._kept("latency.json", measured))

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """A stage's JSON result, made once."""
        path = self.work / name
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(make()))
            os.replace(partial, path)
        return json.loads(path.read_text())

    def _importance(self, teacher: Engine) -> ImportanceReport | None:
        path = self.recipe.importance
        return read_report(path, teacher.manifest.teacher) if path else None

    def _save(
        self,
        teacher: Engine,
        student: Engine,
        scores: dict[str, Scores],
        timing: Latency,
        spent: Spent,
        shown: page.Shown,
    ) -> Manifest:
        rounded = {name: {k: round(v, 5) for k, v in values.items()} for name, values in scores.items()}
        with replacing(self.output) as folder:
            save_pipeline(student.pipeline, folder)
            if spent.decoder:
                (folder / MEASURES).write_text(spent.decoder.model_dump_json(indent=2) + "\n")
            manifest = student.manifest.model_copy(
                update={
                    "teacher": teacher_id(self.recipe.teacher, student.manifest),
                    "cost": cost_of(student, folder),
                    "recipe": portable(self.recipe),
                    "training": spent.record(),
                    "latency": (timing,),
                    "quality": rounded,
                }
            )
            making = page.Making(
                teacher.pipeline.unet.config,
                curves.read_log(self.work / "distill" / "log.jsonl"),
                self._importance(teacher),
            )
            if making.importance:
                (folder / FILE_NAME).write_text(making.importance.model_dump_json(indent=2) + "\n")
            page.write(folder / "report.html", manifest, teacher.manifest, shown, making)
            return write_manifest(folder, manifest)


def portable(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data that names folders but not where they lie."""
    plain: dict[str, Any] = json.loads(recipe.model_dump_json())
    videos = plain["data"]["videos"] or {}
    places = (
        (plain["decoder"] or {}, "perceptual"),
        (plain["decoder"] or {}, "taken_from"),
        (plain, "teacher"),
        (plain, "importance"),
        (plain["distill"], "encoder"),
        (videos, "path"),
        (videos, "captions"),
    )
    for group, field in places:
        if group.get(field):
            group[field] = Path(group[field]).name
    return plain
