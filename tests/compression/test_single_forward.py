"""A multi-step model becomes one that answers in a single forward pass."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vdmini.artifact import ArtifactError, read_manifest, write_manifest
from vdmini.engine import load_engine
from vdmini_compress.evaluate import settings_of
from vdmini_compress.material import sample_input
from vdmini_compress.recipe import Recipe, RecipeError, load_recipe
from vdmini_compress.single_forward import SingleForward

FAST = [
    "data.clips=8",
    "distill.batch_size=1",
    "distill.shards=1",
    "distill.steps=2",
    "distill.watch_every=0",
    "evaluate.clips=4",
]
STEPS = 2


def recipe(root: Path, teacher: Path, *changes: str) -> Recipe:
    path = root / "compression" / "recipes" / "small-single-forward.yaml"
    return load_recipe(path, [*FAST, f"teacher={teacher}", *changes])


@pytest.fixture(scope="module")
def multi_step(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small image-to-video teacher, sampled in two steps: enough of a multi-step model to see what changes."""
    import shutil

    folder = Path(shutil.copytree(root / "compression/teachers/small-i2v", tmp_path_factory.mktemp("m") / "multi"))
    manifest = read_manifest(folder)
    limits = manifest.limits.model_copy(update={"num_inference_steps": (1, STEPS)})
    defaults = manifest.defaults.model_copy(update={"num_inference_steps": STEPS})
    write_manifest(folder, manifest.model_copy(update={"limits": limits, "defaults": defaults}))
    return folder


@pytest.fixture
def no_clock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing takes most of a short job's time and is tested with another one: here an earlier measurement stands in."""
    known = read_manifest(root / "compression/artifacts/small-i2v").latency[0]
    monkeypatch.setattr(SingleForward, "_latency", lambda *_: known)


@pytest.mark.usefixtures("no_clock")
def test_the_single_forward_teacher_calls_its_unet_once_where_the_other_does_so_per_step(
    root: Path, multi_step: Path, tmp_path: Path
) -> None:
    manifest = SingleForward(recipe(root, multi_step), tmp_path / "single", lambda _: None).run()
    assert (manifest.variant, manifest.defaults.num_inference_steps) == ("teacher", 1)
    assert manifest.training["made_from"]["num_inference_steps"] == STEPS
    assert manifest.quality.keys() == {"teacher"}
    calls: dict[str, int] = {}
    weights: list[dict[str, torch.Tensor]] = []
    for name, folder in (("multi", multi_step), ("single", tmp_path / "single")):
        engine = load_engine(folder, device="cpu", dtype="float32")
        counted: list[int] = []
        engine.pipeline.unet.register_forward_hook(lambda *_, into=counted: into.append(1))
        engine.generate(**settings_of(engine, **sample_input(engine)))
        calls[name] = len(counted)
        weights.append(engine.pipeline.unet.state_dict())
    assert calls == {"multi": STEPS, "single": 1}
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("change", ["plan=paper", "distill.real=teacher", "distill.lambda_icd=0.1"])
def test_a_recipe_that_prunes_or_distils_is_refused(root: Path, multi_step: Path, tmp_path: Path, change: str) -> None:
    with pytest.raises(RecipeError, match="neither prunes nor distils"):
        SingleForward(recipe(root, multi_step, change), tmp_path / "out", lambda _: None).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("teacher", "complaint"),
    [("small-i2v", "in one forward pass already"), ("small-t2v", "needs an image-to-video model")],
)
def test_a_model_that_is_no_multi_step_one_is_refused(root: Path, tmp_path: Path, teacher: str, complaint: str) -> None:
    wanted: Any = recipe(root, root / "compression/teachers" / teacher)
    with pytest.raises(ArtifactError, match=complaint):
        SingleForward(wanted, tmp_path / "out", lambda _: None).run()
