"""Stable Video Diffusion's folder becomes a teacher, or the reason why not is one sentence."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors
from PIL import Image
from safetensors.torch import load_file, save_file

from vdmini.artifact import verify
from vdmini.engine import load_engine
from vdmini_compress.cli import main
from vdmini_compress.evaluate import settings_of
from vdmini_compress.importing.checkpoint import CheckpointError
from vdmini_compress.importing.hub import model_folder, reason
from vdmini_compress.importing.svd import import_svd

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A diffusers folder as the hub has it: float32 weights, and the U-Net's float16 variant beside them."""
    source = Path(shutil.copytree(root / "compression/teachers/small-i2v", tmp_path / "svd"))
    (source / "vdmini.json").unlink()
    for path in source.rglob("*.safetensors"):
        half = load_file(path)
        save_file({name: value.float() for name, value in half.items()}, path, metadata={"format": "pt"})
        if path.parent.name == "unet":
            save_file(half, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
    return source


def imported(folder: Path, output: Path) -> Any:
    return import_svd(str(folder), output, width=64, height=64)


def test_a_diffusers_folder_becomes_a_teacher_with_the_same_weights_that_films(
    root: Path, folder: Path, tmp_path: Path
) -> None:
    manifest = imported(folder, tmp_path / "teacher")
    assert verify(tmp_path / "teacher") == manifest
    assert (manifest.name, manifest.variant, manifest.family) == ("svd-teacher", "teacher", "svd")
    assert (manifest.defaults.num_frames, manifest.defaults.num_inference_steps) == (8, 25)
    for path in (root / "compression/teachers/small-i2v").rglob("*.safetensors"):
        before, after = load_file(path), load_file(tmp_path / "teacher" / path.parent.name / path.name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    engine = load_engine(tmp_path / "teacher", device="cpu", dtype="float32")
    wanted = settings_of(engine, image=Image.new("RGB", (64, 64), "red")) | {"num_inference_steps": 1}
    assert engine.generate(**wanted | {"guidance_scale": 1.0}).frames.shape == (8, 64, 64, 3)


def test_float16_weights_are_shared_with_the_folder_and_others_converted(folder: Path, tmp_path: Path) -> None:
    imported(folder, tmp_path / "teacher")
    assert (tmp_path / "teacher" / UNET).samefile(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    converted = load_file(tmp_path / "teacher" / "vae/diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in converted.values()} == {torch.float16}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def reshape(path: Path) -> None:
    weights = load_file(path)
    weights["conv_in.bias"] = weights["conv_in.bias"][:1].clone()
    del weights["conv_out.bias"]
    save_file(weights, path)


def rename(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "StableDiffusionPipeline"}))


@pytest.mark.parametrize(
    ("file", "harm", "complaint"),
    [
        ("unet/diffusion_pytorch_model.fp16.safetensors", cut, "is damaged or cut short .*; download it again"),
        (
            "unet/diffusion_pytorch_model.fp16.safetensors",
            reshape,
            "1 missing: conv_out.bias; 1 of another shape: conv_in",
        ),
        ("image_encoder/model.safetensors", Path.unlink, "has no model.fp16.safetensors or model.safetensors"),
        ("scheduler/scheduler_config.json", Path.unlink, "scheduler_config.json is missing or damaged"),
        ("model_index.json", Path.unlink, "so it is no diffusers model; give Stable Video Diffusion"),
        (
            "model_index.json",
            rename,
            "is a StableDiffusionPipeline; this command imports a StableVideoDiffusionPipeline",
        ),
    ],
)
def test_what_is_missing_damaged_or_another_model_is_named(
    folder: Path, tmp_path: Path, file: str, harm: Callable[[Path], None], complaint: str
) -> None:
    harm(folder / file)
    with pytest.raises(CheckpointError, match=complaint):
        imported(folder, tmp_path / "teacher")
    assert [path.name for path in tmp_path.iterdir()] == ["svd"]


def test_without_a_network_the_command_says_how_else_to_get_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    command = ["import", "svd", "--model", "nobody/nothing", "--output", str(tmp_path / "teacher")]
    assert main(command) == 1
    printed = capsys.readouterr().err
    assert "nobody/nothing is not on this machine, and the hub can't be reached" in printed
    assert "hf download" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("model", ["/nowhere/at/all", "./here", "svd", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_said(model: str) -> None:
    with pytest.raises(CheckpointError, match="neither a folder nor a hub id such as owner/name"):
        model_folder(model)


@pytest.mark.parametrize(
    ("error", "status", "advice"),
    [
        (errors.GatedRepoError, 403, "accept its licence: open its page on the hub, accept, then run `hf auth login`"),
        (errors.RepositoryNotFoundError, 404, "was not found on the hub, or is private"),
        (errors.HfHubHTTPError, 503, "the hub refused owner/name: busy; try again later"),
    ],
)
def test_each_refusal_of_the_hub_has_its_next_step(error: type[Exception], status: int, advice: str) -> None:
    made: Any = error
    http = import_module(errors.Response.__module__)  # which of its HTTP clients the hub's library was built on
    response = errors.Response(status, request=http.Request("GET", "https://hub.invalid"))
    assert advice in reason(made("busy", response=response), "owner/name")
