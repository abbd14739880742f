"""Makes a single-forward teacher from a multi-step one by latent adversarial fine-tuning (SF-V, arXiv 2406.04324).

It is a distillation in which nothing is pruned and the data, not a teacher's answers, count as real: the whole U-Net
learns from a pseudo-Huber loss and from a discriminator on the frozen encoder of the model that it started as.
"""

import time
from typing import Any

from vdmini.artifact import ArtifactError, replacing, weights_sha256, write_manifest
from vdmini.engine import Engine
from vdmini.manifest import Latency, Manifest, TeacherId
from vdmini.plan import PruningPlan
from vdmini.weights import save_pipeline
from vdmini_compress.evaluate import Scores
from vdmini_compress.job import Job, Spent, portable
from vdmini_compress.pruning import cost_of, student_engine
from vdmini_compress.recipe import RecipeError
from vdmini_compress.reporting.page import Shown

SINGLE = {"num_inference_steps": 1, "guidance_scale": 1.0}


class SingleForward(Job):
    """One such fine-tuning; its artifact is a teacher for `Job`.

    Its recipe is a job's: `plan: none`, `distill.real: data`, `task_loss: pseudo-huber`, no feature or output loss.
    """

    def run(self) -> Manifest | None:
        """Do all stages and save the teacher.

        Raises:
            RecipeError: when the recipe prunes or distils.
            ArtifactError: when the model isn't a multi-step image-to-video teacher; and what `Job.run` raises.
        """
        wanted = self.recipe.distill
        if self.recipe.plan != "none" or wanted.real != "data" or wanted.lambda_output or wanted.lambda_icd:
            raise RecipeError(
                "single-forward neither prunes nor distils: its recipe needs plan: none, distill.real: data, "
                "distill.lambda_output: 0 and distill.lambda_icd: 0"
            )
        return super().run()

    def _check(self, teacher: Engine) -> None:
        super()._check(teacher)
        if teacher.manifest.task != "i2v":
            raise ArtifactError(
                f"{self.recipe.teacher} makes videos from text; single-forward needs an image-to-video model, as SVD is"
            )
        if teacher.manifest.defaults.num_inference_steps == 1:
            raise ArtifactError(f"{self.recipe.teacher} answers in one forward pass already; prune it")

    def _student_engine(self, teacher: Engine, student: Any, plan: PruningPlan) -> Engine:
        engine = student_engine(teacher, student, plan, self.recipe.name)
        defaults = engine.manifest.defaults.model_copy(update=SINGLE)
        limits = engine.manifest.limits.model_copy(update={"num_inference_steps": (1,)})
        changes = {"variant": "teacher", "defaults": defaults, "limits": limits}
        engine.manifest = engine.manifest.model_copy(update=changes)
        return engine

    def _save(
        self,
        teacher: Engine,
        student: Engine,
        scores: dict[str, Scores],
        timing: Latency,
        spent: Spent,
        shown: Shown,  # noqa: ARG002 - a teacher has no report yet
    ) -> Manifest:
        rounded = {name: {k: round(v, 5) for k, v in values.items()} for name, values in scores.items()}
        made_from = {
            "id": teacher.manifest.teacher.id,
            "sha256": teacher.manifest.teacher.sha256,
            "num_inference_steps": teacher.manifest.defaults.num_inference_steps,
            "quality": rounded["teacher"],
            "seconds": timing.seconds["teacher"],
        }
        with replacing(self.output) as folder:
            save_pipeline(student.pipeline, folder)
            identity = TeacherId(
                id=self.recipe.name, sha256=weights_sha256(folder), licence=teacher.manifest.teacher.licence
            )
            named = {
                "teacher": identity,
                "cost": cost_of(student, folder),
                "recipe": portable(self.recipe),
                "quality": {"teacher": rounded["vdmini"]},
                "training": {
                    "single_forward_seconds": round(spent.seconds, 1),
                    "finished": time.strftime("%Y-%m-%d"),
                    "seconds": timing.seconds["vdmini"],
                    "made_from": made_from,
                },
            }
            return write_manifest(folder, student.manifest.model_copy(update=named))
