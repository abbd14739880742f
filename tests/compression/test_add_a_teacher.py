"""The page "Add a teacher", carried out: ModelScope's family from a published folder to a served video."""

import io
import json
import re
import runpy
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from numpy.typing import NDArray

import vdmini
from vdmini.artifact import verify
from vdmini.engine import Engine, load_engine, quiet_libraries
from vdmini.families import FAMILY_NAMES, family_named, family_of
from vdmini.families.base import TextFamily
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini_compress import job as jobs
from vdmini_compress.cli import main
from vdmini_compress.data import WORLDS, Cache
from vdmini_compress.distill import Distillation
from vdmini_compress.evaluate import settings_of
from vdmini_compress.pruning import resolve_plan
from vdmini_compress.recipe import Distill
from vdmini_compress.text_batch import NoiseSchedule, TextBatch
from vdmini_compress.training import generator_for

CAPTION = "a red circle moving left slowly on a white background"


pytestmark = pytest.mark.usefixtures("one_thread")


def block(page: str, kind: str, name: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(# {re.escape(name)}\n.*?)```", page, re.DOTALL)
    return str(found)


@pytest.fixture(scope="session")
def carried_out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What the page's commands leave, and what they print."""
    place, page = tmp_path_factory.mktemp("page"), (root / "docs/add-a-teacher.md").read_text()
    (place / "tiny_teacher.py").write_text(block(page, "python", "tiny_teacher.py"))
    (place / "tiny.yaml").write_text(block(page, "yaml", "tiny.yaml"))
    known = verify(root / "compression/artifacts/small-t2v").latency[0]
    quiet_libraries()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.chdir(place)
        patch.setattr(jobs.latency, "measure", lambda *_, **__: known)  # as other jobs; it takes most of the time
        for line in "".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).splitlines():
            program, *words = shlex.split(line)
            if program == "python":
                patch.setattr("sys.argv", words)
                runpy.run_path(words[0])
            elif program == "vdmini-compress":
                assert main(words) == 0, line
            else:
                assert program == "vdmini-serve"
    return place / "runs", printed.getvalue()


@pytest.fixture(scope="session")
def runs(carried_out: tuple[Path, str]) -> Path:
    return carried_out[0]


@pytest.fixture(scope="session")
def engines(runs: Path) -> dict[str, Engine]:
    return {name: load_engine(runs / name, device="cpu", dtype="float32") for name in ("tiny-teacher", "tiny-vdmini")}


@pytest.fixture(scope="session")
def usual(engines: dict[str, Engine]) -> dict[str, NDArray[np.uint8]]:
    """The frames of one caption and seed."""
    return {name: frames(engine) for name, engine in engines.items()}


@pytest.fixture(scope="session")
def teacher(engines: dict[str, Engine]) -> Engine:
    return engines["tiny-teacher"]


@pytest.fixture(scope="session")
def cache(teacher: Engine) -> Cache:
    with torch.no_grad():
        return WORLDS["t2v"].encode(teacher.pipeline, 4, 0, lambda _: None)


def plain_frames(pipeline: Any, **changes: Any) -> NDArray[np.uint8]:
    pipeline.set_progress_bar_config(disable=True)
    asked = {"width": 64, "height": 64, "num_frames": 8, "num_inference_steps": 2, "guidance_scale": 2.0} | changes
    made = pipeline(CAPTION, generator=torch.Generator().manual_seed(3), **asked).frames[0]
    return np.asarray((made * 255).round().astype(np.uint8))


def frames(engine: Engine, **changes: Any) -> NDArray[np.uint8]:
    return engine.generate(**settings_of(engine, prompt=CAPTION, seed=3, **changes)).frames


@pytest.mark.parametrize("name", ["tiny-teacher", "tiny-vdmini"])
def test_the_engines_frames_are_the_plain_pipelines(runs: Path, usual: dict[str, NDArray[np.uint8]], name: str) -> None:
    plain = DiffusionPipeline.from_pretrained(runs / name, dtype=torch.float32, local_files_only=True)
    assert type(plain) is TextToVideoSDPipeline
    assert usual[name].std() > 1
    assert np.array_equal(usual[name], plain_frames(plain))


def test_the_plan_of_the_full_size_model_says_what_the_page_says(carried_out: tuple[Path, str]) -> None:
    assert re.search(r"all +│ +1,411.2 │ 814.6 │ +4.89 TFLOP │ 3.50 TFLOP", carried_out[1])


def test_a_student_that_lost_the_same_pairs_everywhere_is_a_stock_model(runs: Path) -> None:
    index = json.loads((runs / "tiny-stock/model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet3DConditionModel"]
    assert json.loads((runs / "tiny-stock/unet/config.json").read_text())["layers_per_block"] == 1
    plain = DiffusionPipeline.from_pretrained(runs / "tiny-stock", dtype=torch.float32, local_files_only=True)
    assert type(plain.unet) is UNet3DConditionModel
    assert np.array_equal(frames(load_engine(runs / "tiny-stock", device="cpu", dtype="float32")), plain_frames(plain))


def test_the_artifact_tells_what_was_done(runs: Path) -> None:
    teacher, student = verify(runs / "tiny-teacher"), verify(runs / "tiny-vdmini")
    assert (student.family, student.task, student.variant) == ("modelscope", "t2v", "vdmini")
    assert student.teacher.sha256 == teacher.teacher.sha256
    assert student.limits.max_prompt_tokens == 24
    assert student.cost.unet_parameters < 0.7 * teacher.cost.unet_parameters
    assert json.loads((runs / "tiny-vdmini/model_index.json").read_text())["unet"] == [
        "vdmini",
        "VDMiniUNet3DCondition",
    ]
    assert vdmini.VDMiniUNet3DCondition is family_named("modelscope").student_class
    assert set(student.quality) == {"teacher", "vdmini"}


def passes(engine: Engine, **changes: Any) -> list[int]:
    """Clips in each of the U-Net's passes."""
    seen: list[int] = []
    hook = engine.pipeline.unet.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    frames(engine, **changes)
    hook.remove()
    return seen


def test_guidance_takes_a_pass_with_and_one_without_the_prompt(teacher: Engine) -> None:
    assert passes(teacher) == [2, 2]
    assert passes(teacher, guidance_scale=1.0) == [1, 1]


def test_another_scheduler_of_the_folder_is_the_one_that_samples(
    teacher: Engine, usual: dict[str, NDArray[np.uint8]]
) -> None:
    own, heard = teacher.pipeline.scheduler, list[float]()
    teacher.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(own.config)
    try:
        made = teacher.generate(**settings_of(teacher, prompt=CAPTION, seed=3), on_progress=heard.append).frames
        assert np.array_equal(made, plain_frames(teacher.pipeline))
        assert torch.equal(NoiseSchedule.of(teacher.pipeline.scheduler).alphas_cumprod_N, own.alphas_cumprod)
    finally:
        teacher.pipeline.scheduler = own
    assert heard == [0.0, 0.45, 0.9, 1.0]
    assert not np.array_equal(made, usual["tiny-teacher"])


def test_without_a_prompt_it_says_what_to_give(teacher: Engine) -> None:
    with pytest.raises(ValueError, match="give a prompt"):
        teacher.generate(**settings_of(teacher))


@pytest.fixture
def distillation_of(teacher: Engine, cache: Cache) -> Callable[..., Distillation]:
    def build(**changes: Any) -> Distillation:
        torch.manual_seed(0)
        unet, weights = teacher.pipeline.unet, torch.linspace(0.5, 1.5, 8)
        student = build_student(unet, PruningPlan.preset("all-pairs", unet)).eval()
        fast = {"steps": 1, "batch_size": 2, "learning_rate": 1e-3, "timesteps": 1000}
        settings = Distill.model_validate(fast | changes)
        return Distillation(teacher.family, teacher.pipeline, student, WORLDS["t2v"], cache, weights, settings)

    return build


def test_the_task_loss_is_the_weighted_squared_error_of_the_predicted_noise(
    distillation_of: Callable[..., Distillation],
) -> None:
    made = distillation_of(lambda_output=1.0, lambda_icd=0.0)
    losses = made.losses(generator_for(0, 0), 0)
    batch: Any = made.world.draw(made.pipeline, made.cache, made.settings, generator_for(0, 0))
    with torch.no_grad():
        student, teacher = batch.run(made.student), batch.run(made.pipeline.unet)

    def error(right: torch.Tensor) -> float:
        square = ((student - right) ** 2 * made.channel_weight_C[:, None, None]).mean(dim=2)
        return float((square * batch.weight_BFHW).sum() / batch.weight_BFHW.sum())

    assert losses["task"].item() == pytest.approx(error(batch.noise_BFCHW), rel=1e-5)
    assert losses["output"].item() == pytest.approx(error(teacher), rel=1e-5)


def test_all_losses_of_the_paper_reach_the_student_and_the_heads(distillation_of: Callable[..., Distillation]) -> None:
    made = distillation_of(lambda_mca=1.0)
    losses = made.losses(generator_for(0, 0), 0)
    assert set(losses) == {"task", "output", "icd", "mca"}
    weights = list(made.student.parameters())
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), weights, retain_graph=True)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert bool(torch.autograd.grad(losses["mca"], weights[:1])[0].any())
    made.discriminator_losses(generator_for(0, 0), 0)["discriminator"].backward()
    assert made.discriminator is not None
    assert all(p.grad is not None for p in made.discriminator.parameters())
    assert not any(p.grad is not None for p in made.pipeline.unet.parameters())


def test_a_consistency_loss_is_refused(distillation_of: Callable[..., Distillation]) -> None:
    with pytest.raises(TypeError, match="needs a batch of a latent consistency model"):
        distillation_of(task_loss="consistency").losses(generator_for(0, 0), 0)


def test_clips_are_noised_to_any_level_and_a_tenth_of_them_lose_their_caption(teacher: Engine, cache: Cache) -> None:
    settings = Distill(steps=1, batch_size=400, learning_rate=1e-3, timesteps=1000)
    small = {name: values[..., :1, :1] if name in ("latents_NFCHW", "weight_NFHW") else values
             for name, values in cache.items()}  # fmt: skip
    batch = WORLDS["t2v"].draw(teacher.pipeline, small, settings, generator_for(0, 0))
    assert isinstance(batch, TextBatch)
    levels = batch.timestep_B.float() / 999
    assert (float(levels.min()), float(levels.max())) == pytest.approx((0, 1), abs=0.02)
    assert float(levels.mean()) == pytest.approx(0.5, abs=0.05)
    family = teacher.family
    assert isinstance(family, TextFamily)
    with torch.no_grad():
        blank = family.encode_prompts(teacher.pipeline, [""])
    assert batch.features_BLD is not None
    dropped = (batch.features_BLD == blank).flatten(1).all(dim=1)
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.04)


def test_plans_by_name_and_by_order_fit(teacher: Engine) -> None:
    assert "mid_block" in resolve_plan("paper", teacher).removed
    assert resolve_plan("deep:flops", teacher).removed


def test_a_worker_runs_a_job_of_it(runs: Path, usual: dict[str, NDArray[np.uint8]]) -> None:
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.shelf import load
    from vdmini_serve.worker.warmup import default_spec

    models = load(Settings(artifacts=(runs / "tiny-vdmini",), device="cpu"))
    model = models["tiny-vdmini"]
    spec = default_spec(model.descriptor).model_copy(update={"prompt": CAPTION, "seed": 3})
    assert (spec.task, spec.num_inference_steps, spec.guidance_scale) == ("t2v", 2, 2.0)
    assert np.array_equal(model.run(spec, None, lambda _: None).frames, usual["tiny-vdmini"])


@pytest.mark.parametrize(
    ("source", "changes", "complaint"),
    [
        ("compression/teachers/small-t2v", [], "has a UNet3DFpsConditionModel; teachers of family modelscope have a"),
        ("runs/tiny-published", ["--width", "60"], "width 60 is not a multiple of 8"),
        ("compression/recipes", [], "model_index.json"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_leaves_nothing(
    root: Path, runs: Path, tmp_path: Path, source: str, changes: list[str], complaint: str, capsys: Any
) -> None:
    folder = runs.parent / source if source.startswith("runs/") else root / source
    words = ["--model", str(folder), "--output", str(tmp_path / "out"), "--licence", "MIT", *changes]
    assert main(["import", "modelscope", *words]) == 1
    assert complaint in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["plan", "import"])
def test_help_names_every_family(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in FAMILY_NAMES)


def test_a_family_is_found_by_the_class_of_its_teachers_and_of_its_students() -> None:
    for name in FAMILY_NAMES:
        family = family_named(name)
        assert family.name == name
        assert family_of(family.unet_class) is family_of(family.student_class) is family
    with pytest.raises(TypeError, match="Linear is no family's U-Net; teachers are of class UNetSpatioTemporal"):
        family_of(torch.nn.Linear)
