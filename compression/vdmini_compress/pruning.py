"""From the name of a plan to a pruned artifact. It leaves healing to `vdmini_compress.distill`."""

from copy import deepcopy
from pathlib import Path

from torch import nn

from vdmini.artifact import replacing, weight_bytes, weights_sha256, write_manifest
from vdmini.cost import unet_cost
from vdmini.engine import Engine, pick_dtype
from vdmini.manifest import Cost, Manifest, TeacherId
from vdmini.plan import PruningPlan, check
from vdmini.student import build_student
from vdmini.weights import save_pipeline
from vdmini_compress.budget import Budget, BudgetError, Candidate, search
from vdmini_compress.importance import ImportanceReport
from vdmini_compress.presets import plan_named
from vdmini_compress.units import UnitCosts


def latent_size(engine: Engine) -> dict[str, int]:
    """Frames, height and width of the latents of a model's default clip."""
    defaults = engine.manifest.defaults
    scale = 2 ** (len(engine.pipeline.vae.config.block_out_channels) - 1)
    return {"num_frames": defaults.num_frames, "height": defaults.height // scale, "width": defaults.width // scale}


def resolve_plan(
    plan: str | tuple[str, ...], engine: Engine, importance: ImportanceReport | None = None
) -> PruningPlan:
    """The plan of a preset, a list or a budget, checked against a teacher.

    Args:
        plan: as a recipe has it.
        engine: the teacher.
        importance: of its blocks; a budget is searched in it.

    Raises:
        vdmini.plan.PlanError: when there is no such preset, or the plan doesn't fit.
        vdmini_compress.budget.BudgetError: when the budget can't be read or met, or there is no importance report.
    """
    unet = engine.pipeline.unet
    if isinstance(plan, str) and "=" in plan:
        return search_budget(plan, engine, importance).plan
    if isinstance(plan, str) and not plan.startswith(("down_blocks.", "up_blocks.", "mid_block")):
        return plan_named(plan, unet, **latent_size(engine))
    made = PruningPlan.of((plan,) if isinstance(plan, str) else plan)
    check(made, unet)
    return made


def search_budget(budget: str, engine: Engine, importance: ImportanceReport | None) -> Candidate:
    """What `vdmini_compress.budget.search` finds for a budget such as "latency=0.6"; see there."""
    wanted = Budget.parse(budget)
    if importance is None:
        raise BudgetError(
            "a budget needs measured importance: give the importance.json of `vdmini-compress analyze` as importance"
        )
    unet = engine.pipeline.unet
    return search(importance, unet, UnitCosts.of(unet, **latent_size(engine)), wanted)


def student_engine(teacher: Engine, unet: object, plan: PruningPlan, name: str) -> Engine:
    """A student's U-Net in the teacher's place; encoders and VAE are shared."""
    pipeline = type(teacher.pipeline)(**{**teacher.pipeline.components, "unet": unet})
    pipeline.set_progress_bar_config(disable=True)
    manifest = teacher.manifest.model_copy(
        update={"name": name, "variant": "vdmini", "removed_blocks": plan.removed, "latency": (), "quality": {}}
    )
    return Engine(manifest, teacher.family, pipeline, device=teacher.torch_device, dtype=teacher.torch_dtype)


def with_vae(engine: Engine, vae: object) -> Engine:
    """The same model with another VAE."""
    pipeline = type(engine.pipeline)(**{**engine.pipeline.components, "vae": vae})
    pipeline.set_progress_bar_config(disable=True)
    return Engine(engine.manifest, engine.family, pipeline, device=engine.torch_device, dtype=engine.torch_dtype)


def as_served(engine: Engine) -> Engine:
    """A copy of a model in the precision that it is served in on its device; the model itself where it is that already.

    What is measured and shown shall be what is served: training keeps float32 weights, a GPU serves bfloat16.
    """
    dtype = pick_dtype(None, engine.torch_device)
    if dtype is engine.torch_dtype:
        return engine
    parts = {
        name: nn.Module.to(deepcopy(part), dtype=dtype) if isinstance(part, nn.Module) else part
        for name, part in engine.pipeline.components.items()
    }
    pipeline = type(engine.pipeline)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return Engine(engine.manifest, engine.family, pipeline, device=engine.torch_device, dtype=dtype)


def save_pruned(teacher: Engine, teacher_folder: Path, plan: PruningPlan, output: Path) -> Manifest:
    """Write the pruned teacher as an artifact.

    Raises:
        vdmini.artifact.ArtifactError: when `output` holds something else.
    """
    student = student_engine(teacher, build_student(teacher.pipeline.unet, plan), plan, f"{teacher_folder.name}-pruned")
    with replacing(output) as folder:
        save_pipeline(student.pipeline, folder)
        named = {"teacher": teacher_id(teacher_folder, student.manifest), "cost": cost_of(student, folder)}
        return write_manifest(folder, student.manifest.model_copy(update=named))


def teacher_id(folder: Path, manifest: Manifest) -> TeacherId:
    """The teacher's identity as the student records it."""
    return TeacherId(id=folder.name, sha256=weights_sha256(folder), licence=manifest.teacher.licence)


def cost_of(engine: Engine, folder: Path) -> Cost:
    """Size and work of what lies in `folder`."""
    cost = unet_cost(engine.pipeline.unet, **latent_size(engine))
    return Cost(
        unet_parameters=cost.parameters,
        unet_flops=cost.flops,
        vae_decoder_parameters=engine.family.decoder_parameters(engine.pipeline),
        total_bytes=weight_bytes(folder),
    )
