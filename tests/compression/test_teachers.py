"""How the small teachers start, train and become artifacts."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from vdmini.artifact import ArtifactError, verify
from vdmini.engine import load_engine
from vdmini_compress.teachers import card, reading, seeing
from vdmini_compress.teachers import image_to_video as i2v
from vdmini_compress.teachers import text_to_video as t2v
from vdmini_compress.teachers.autoencoder import decoder_sensitivity, latent_modes, reconstruct
from vdmini_compress.teachers.train import Start
from vdmini_compress.teachers.words import MAX_LENGTH, build_tokenizer, world_words
from vdmini_compress.world import captions, clips

IMAGE_TEACHER = Path(__file__).resolve().parents[2] / "compression/teachers/small-i2v"
BUILDERS: list[Callable[[], Any]] = [i2v.build_vae, t2v.build_vae]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_fresh_vae_returns_the_mean_colour_of_each_patch(build: Callable[[], Any]) -> None:
    clip = clips.image_clips(2, 2, torch.Generator().manual_seed(0)).frames_BF3HW[:, :2] * 2 - 1
    vae = build()
    with torch.no_grad():
        made, kl = reconstruct(vae, clip, None)
    mosaic = F.interpolate(F.avg_pool2d(clip.flatten(0, 1), 8), scale_factor=8).view_as(clip)
    assert (made - mosaic).abs().mean() < 0.03
    assert torch.isfinite(kl)


def test_a_plain_start_loses_the_colours_that_the_mosaic_keeps() -> None:
    flat = torch.full((1, 1, 3, 64, 64), 0.7)
    flat[:, :, 1] = -0.4
    with torch.no_grad():
        made, _ = reconstruct(i2v.build_vae(), flat, None)
    assert (made - flat).abs().mean() < 0.12


def test_sensitivity_finds_the_channels_that_the_decoder_shows() -> None:
    vae = i2v.build_vae()
    weight = decoder_sensitivity(vae, torch.randn(4, 2, 16, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert float(weight.mean()) == pytest.approx(1, abs=1e-4)
    assert bool((weight[:3] > 2).all()), "a fresh decoder shows the three colour channels"
    assert bool((weight[3:] < 1).all())


def test_every_caption_fits_and_survives_the_tokenizer(tmp_path: Path) -> None:
    build_tokenizer().save_pretrained(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    ids = [tuple(tokenizer(scene.caption).input_ids) for scene in captions.all_scenes()]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) <= MAX_LENGTH == tokenizer.model_max_length


def test_every_word_of_the_world_is_one_token_and_others_are_spelled() -> None:
    tokenizer = build_tokenizer()
    assert {word: len(tokenizer.tokenize(word)) for word in world_words()} == dict.fromkeys(world_words(), 1)
    assert len(tokenizer.tokenize("zebra")) > 1


def test_a_text_encoder_learns_to_tell_what_captions_say() -> None:
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    encoder = t2v.build_text_encoder(tokenizer)
    scenes = t2v.training_scenes()
    tokens = t2v.tokenize(tokenizer, [scene.caption for scene in scenes])
    knows_nothing = sum(math.log(len(names)) for names in reading.ATTRIBUTES.values())
    assert reading.learn_to_read(encoder, scenes, tokens, tokenizer.eos_token_id, 0) < knows_nothing / 20


def test_the_path_readout_is_content_with_features_that_hold_the_path_and_not_with_others() -> None:
    path = 14 * torch.randn(16, 8, 2, generator=torch.Generator().manual_seed(0))
    readout = reading.PathReadout({"mid_block": 4})
    told = torch.zeros(16 * 8, 4, 2, 2)
    told[:, :2] = path.flatten(0, 1)[:, :, None, None] / 100
    told[:, 2:] = torch.tensor([1.0, -1.0])[:, None, None]
    optimizer = torch.optim.Adam(readout.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        readout.loss({"mid_block": told}, path).backward()
        optimizer.step()
    blind = readout.loss({"mid_block": torch.zeros_like(told)}, path)
    assert readout.loss({"mid_block": told}, path) < 0.05 * blind


def test_the_text_teacher_trains_without_dropout_and_tells_frames_apart_from_the_start() -> None:
    torch.manual_seed(0)
    unet = t2v.build_unet()
    assert not t2v.TextToVideo(unet, t2v.build_text_encoder(build_tokenizer())).unet.training
    moved = unet.down_blocks[0].temp_convs[0](torch.ones(8, 32, 4, 4), num_frames=8)
    assert (moved[0] - moved[-1]).abs().max() > 0.01


def test_latents_of_one_call_equal_those_of_several() -> None:
    vae = t2v.build_vae()
    frames = torch.rand(11, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        whole = vae.encode(frames).latent_dist.mode()
    assert (latent_modes(vae, frames) - whole).abs().max() < 0.05


FEWER_STEPS = {"num_inference_steps": 2}


def shorten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a teacher train for a step or two on eight clips."""
    kind = type(card.teacher_named(name))
    for part in ("vae_schedule", "eye_schedule", "decoder_schedule", "denoiser_schedule"):
        schedule = getattr(kind, part)
        if schedule is not None:
            steps = 2 if part == "denoiser_schedule" else 1
            monkeypatch.setattr(kind, part, replace(schedule, steps=steps, log_every=1))
    monkeypatch.setattr(kind, "batch_size", 2)
    monkeypatch.setattr(seeing, "SPRITES", 3)
    monkeypatch.setattr(seeing, "CAMERAS", 1)
    monkeypatch.setitem(card.DEFAULTS, "small-svd", card.DEFAULTS["small-svd"].model_copy(update=FEWER_STEPS))
    monkeypatch.setattr(kind, "clips_cached", 8, raising=False)
    monkeypatch.setattr(t2v, "FPS_CHOICES", (8,))
    monkeypatch.setattr(reading, "READING_STEPS", 5)
    monkeypatch.setattr(t2v, "training_scenes", lambda: captions.all_scenes()[:8])


@pytest.mark.parametrize("name", ["small-i2v", "small-t2v"])
def test_a_teacher_is_trained_scored_and_saved_by_one_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(name, monkeypatch)
    lines: list[str] = []
    output = tmp_path / name
    manifest = card.make_teacher(name, output, device="cpu", clips=1, say=lines.append)
    assert verify(output) == manifest
    assert manifest.variant == "teacher"
    assert manifest.quality["teacher"]["trajectory_error_px"] > 0
    text = (output / "README.md").read_text()
    assert f"vdmini-compress train-teacher {name}" in text
    assert "| denoiser | 2 |" in text
    assert load_engine(output, device="cpu").manifest.cost.unet_parameters > 1e6
    assert any(line.startswith("denoiser: step 2/2") for line in lines)


@pytest.mark.parametrize(("name", "keep_denoiser"), [("small-svd", True), ("small-i2v", False)])
def test_a_teacher_builds_on_an_earlier_one(
    name: str, keep_denoiser: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(name, monkeypatch)
    monkeypatch.setattr(type(card.teacher_named(name)), "decoder_schedule", None)  # another test trains it
    earlier, output = verify(IMAGE_TEACHER), tmp_path / "later"
    start = Start(IMAGE_TEACHER, keep_denoiser=keep_denoiser)
    made = card.make_teacher(name, output, device="cpu", clips=1, say=lambda _: None, start=start)
    kept = "weights" if keep_denoiser else "VAE"
    expected = {"sha256": earlier.teacher.sha256, "kept": kept, "training": earlier.training}
    assert made.training["started_from"] == expected
    assert "vae" not in made.training
    change = distance(output / UNET_WEIGHTS, IMAGE_TEACHER / UNET_WEIGHTS)
    assert (change < 0.1) == keep_denoiser, change
    text = (output / "README.md").read_text()
    assert ("| finish, 1 before |" in text) == ("| denoiser, 2 before |" in text) == keep_denoiser
    with pytest.raises(ValueError, match=f"started from the {kept} of .*, not from nothing; remove it"):
        card.make_teacher(name, output, device="cpu", clips=1, say=lambda _: None)


UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def distance(one: Path, other: Path) -> float:
    """How far apart two files of weights are, relative to the second."""
    here, there = load_file(one), load_file(other)
    apart = sum(float((here[name].float() - there[name].float()).square().sum()) for name in there)
    return math.sqrt(apart / sum(float(value.float().square().sum()) for value in there.values()))


def test_a_teacher_starts_only_from_one_of_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="start from a small teacher of its family, as small-t2v"):
        card.make_teacher("small-t2v", tmp_path / "x", device="cpu", clips=1, say=print, start=Start(IMAGE_TEACHER))
    assert not list(tmp_path.iterdir())
