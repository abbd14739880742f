"""The job: prune, distill, evaluate, measure, save.

Every stage keeps its result in a work folder, so that a kill costs little.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from vdmini.artifact import ArtifactError, refuse_foreign, replacing, weight_bytes, weights_sha256, write_manifest
from vdmini.cost import unet_cost
from vdmini.engine import Engine, load_engine
from vdmini.manifest import Cost, Latency, Manifest, TeacherId
from vdmini.plan import PruningPlan, check
from vdmini.student import build_student
from vdmini.weights import save_pipeline
from vdmini_compress import latency, report
from vdmini_compress.data import WORLDS, Cache
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.evaluate import Scores, evaluate, held_out_scenes, to_picture
from vdmini_compress.recipe import Recipe
from vdmini_compress.world import clips
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS

Report = Callable[[str], None]

SPARE_BYTES = 64 * 2**20
"""Room on the disk beyond what is counted: logs, the file system's own needs."""


class Job:
    """One compression.

    Args:
        recipe: what to do.
        output: where the artifact goes.
        say: receives progress, one line at a time.
    """

    def __init__(self, recipe: Recipe, output: Path, say: Report) -> None:
        self.recipe, self.output, self.say = recipe, output, say
        self.work = output.with_name(output.name + ".work")

    def run(self) -> Manifest:
        """Do all stages and save the artifact.

        Returns:
            The artifact's manifest.

        Raises:
            ArtifactError: when the teacher is damaged or the output folder holds something else.
            vdmini.plan.PlanError: when the plan doesn't fit the teacher.
            OSError: when the disk is too full, before anything is written.
        """
        refuse_foreign(self.output)
        teacher = load_engine(self.recipe.teacher, dtype="float32")
        if teacher.manifest.variant != "teacher":
            raise ArtifactError(f"{self.recipe.teacher} is a student already; give its teacher")
        plan = plan_for(self.recipe, teacher)
        self._prepare()
        student, seconds = self._student(teacher, plan)
        engine = self._student_engine(teacher, student, plan)
        scores = self._scores(teacher, engine)
        timing = self._latency(teacher, engine)
        manifest = self._save(teacher, engine, scores, timing, seconds)
        shutil.rmtree(self.work)
        return manifest

    def _prepare(self) -> None:
        """Check the disk and open the work folder; one that another recipe left is emptied."""
        need = 6 * weight_bytes(self.recipe.teacher) + self.recipe.data.clips * 40_000 + SPARE_BYTES
        self.output.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.output.parent).free
        if free < need:
            raise OSError(f"{self.output.parent} has {free >> 20} MiB free and the job needs {need >> 20}; free some")
        key = hashlib.sha256(self.recipe.model_dump_json().encode()).hexdigest()
        mark = self.work / "recipe.sha256"
        if mark.exists() and mark.read_text() == key:
            self.say(f"resuming from {self.work}")
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        mark.write_text(key)

    def _cache(self, teacher: Engine) -> Cache:
        path = self.work / "latents.safetensors"
        if not path.exists():
            world = WORLDS[teacher.manifest.task]
            with torch.no_grad():
                cache = world.encode(teacher.pipeline, self.recipe.data.clips, self.recipe.seed, self.say)
            partial = path.with_suffix(".partial")
            save_file({name: value.contiguous() for name, value in cache.items()}, partial)
            os.replace(partial, path)
        encoded: Cache = load_file(path)
        return encoded

    def _student(self, teacher: Engine, plan: PruningPlan) -> tuple[Any, float]:
        """The healed student and the seconds its training took."""
        torch.manual_seed(self.recipe.seed)
        student = build_student(teacher.pipeline.unet, plan)
        self.say(f"pruned {len(plan.removed)} blocks: {', '.join(plan.removed)}")
        if self.recipe.distill.steps == 0:
            return student.eval(), 0.0
        distillation = Distillation(
            teacher.family,
            teacher.pipeline,
            student,
            WORLDS[teacher.manifest.task],
            self._cache(teacher),
            self.recipe.distill,
        )
        seconds = heal(
            distillation,
            self.work / "distill",
            seed=self.recipe.seed,
            report=lambda line: self.say(f"distill: {line}"),
        )
        return student, seconds

    def _student_engine(self, teacher: Engine, student: Any, plan: PruningPlan) -> Engine:
        """The student in the teacher's place; encoders and VAE are shared."""
        pipeline = type(teacher.pipeline)(**{**teacher.pipeline.components, "unet": student})
        pipeline.set_progress_bar_config(disable=True)
        manifest = teacher.manifest.model_copy(
            update={"name": self.recipe.name, "variant": "vdmini", "removed_blocks": plan.removed}
        )
        return Engine(manifest, teacher.family, pipeline, device=teacher.torch_device, dtype=teacher.torch_dtype)

    def _scores(self, teacher: Engine, student: Engine) -> dict[str, Scores]:
        scores: dict[str, Scores] = self._kept("quality.json", lambda: self._evaluate_both(teacher, student))
        return scores

    def _evaluate_both(self, teacher: Engine, student: Engine) -> dict[str, Scores]:
        wanted = self.recipe.evaluate
        scores = {}
        for name, engine in (("teacher", teacher), ("vdmini", student)):
            self.say(f"evaluate: {name} on {wanted.clips} held-out clips")
            scores[name] = evaluate(engine, count=wanted.clips, seed=wanted.seed)
        return scores

    def _latency(self, teacher: Engine, student: Engine) -> Latency:
        def progress(done: int) -> None:
            if done % 10 == 0:
                self.say(f"latency: {done}/{self.recipe.latency.runs} pairs")

        return Latency.model_validate(
            self._kept(
                "latency.json",
                lambda: latency.measure(
                    teacher, student, sample_input(student), runs=self.recipe.latency.runs, progress=progress
                ).model_dump(),
            )
        )

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """A stage's JSON result, made once."""
        path = self.work / name
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(make()))
            os.replace(partial, path)
        return json.loads(path.read_text())

    def _save(
        self, teacher: Engine, student: Engine, scores: dict[str, Scores], timing: Latency, seconds: float
    ) -> Manifest:
        rounded = {name: {k: round(v, 5) for k, v in values.items()} for name, values in scores.items()}
        shown = report.showcase(teacher, student, sample_input(student))
        with replacing(self.output) as folder:
            save_pipeline(student.pipeline, folder)
            manifest = student.manifest.model_copy(
                update={
                    "teacher": teacher_id(self.recipe.teacher, student.manifest),
                    "cost": cost_of(student, folder),
                    "recipe": json.loads(self.recipe.model_copy(update={"teacher": Path("teacher")}).model_dump_json()),
                    "training": {"distill_seconds": round(seconds, 1), "finished": time.strftime("%Y-%m-%d")},
                    "latency": (timing,),
                    "quality": rounded,
                }
            )
            report.write(folder / "report.html", manifest, teacher.manifest, shown)
            return write_manifest(folder, manifest)


def plan_for(recipe: Recipe, teacher: Engine) -> PruningPlan:
    """The recipe's plan, checked against the teacher's U-Net."""
    if isinstance(recipe.plan, str):
        return PruningPlan.preset(recipe.plan, teacher.pipeline.unet)
    plan = PruningPlan.of(recipe.plan)
    check(plan, teacher.pipeline.unet)
    return plan


def sample_input(engine: Engine) -> dict[str, Any]:
    """A held-out input to time and to show."""
    if engine.manifest.task == "t2v":
        return {"prompt": held_out_scenes(1, 0)[0].caption}
    generator = torch.Generator().manual_seed(1)
    frames = clips.image_clips(1, 0, generator, photos=HELD_OUT_PHOTOS).frames_BF3HW
    return {"image": to_picture(frames[0, 0]), "motion_bucket_id": 200}


def teacher_id(folder: Path, manifest: Manifest) -> TeacherId:
    """The teacher's identity as the student records it."""
    return TeacherId(id=folder.name, sha256=weights_sha256(folder), licence=manifest.teacher.licence)


def cost_of(engine: Engine, folder: Path) -> Cost:
    """Size and work of what lies in `folder`."""
    defaults = engine.manifest.defaults
    scale = 2 ** (len(engine.pipeline.vae.config.block_out_channels) - 1)
    cost = unet_cost(
        engine.pipeline.unet,
        width=defaults.width // scale,
        height=defaults.height // scale,
        num_frames=defaults.num_frames,
    )
    return Cost(
        unet_parameters=cost.parameters,
        unet_flops=cost.flops,
        vae_decoder_parameters=engine.family.decoder_parameters(engine.pipeline),
        total_bytes=weight_bytes(folder),
    )
