"""Published text-to-video files are placed key by key, or refused with the name of what is wrong."""

import json
import lzma
import os
import pickle
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, LCMScheduler
from transformers import CLIPTextConfig, CLIPTokenizer

from vdmini.artifact import ArtifactError, verify
from vdmini.cost import empty_vae
from vdmini.families.videocrafter2 import VideoCrafter2
from vdmini.manifest import Manifest
from vdmini.plan import PruningPlan
from vdmini.student import build_student, empty_unet
from vdmini.unet3d_fps import UNet3DFpsConditionModel, guidance_scale_embedding
from vdmini_compress.importing.checkpoint import CheckpointError, part, place, read_pickle
from vdmini_compress.importing.encoders import place_text_encoder, place_vae
from vdmini_compress.importing.tokenizer import load_tokenizer
from vdmini_compress.importing.unet_keys import unet_slots
from vdmini_compress.importing.videocrafter2 import SCHEDULER, TEXT, VAE, import_videocrafter2, read_parts
from vdmini_compress.importing.weights_file import OverflowedError, listed, write_weights
from vdmini_compress.planning import find_subject
from vdmini_compress.text_batch import NoiseSchedule, TextBatch

PUBLISHED_KEYS = Path(__file__).parent / "data" / "t2v_turbo_v2_unet_keys.json.xz"


def test_every_key_of_the_published_unet_has_its_place_and_none_is_left_over() -> None:
    published = {key: tuple(shape) for key, shape in json.loads(lzma.decompress(PUBLISHED_KEYS.read_bytes())).items()}
    unet = empty_unet(UNet3DFpsConditionModel, {**VideoCrafter2.full_size.unet, "motion_cond": True})
    slots = unet_slots(unet)
    assert {key: slot.published for key, slot in slots.items()} == published
    assert len(published) == 1487
    placed = place({key: torch.empty(shape, device="meta") for key, shape in published.items()}, slots, "it")
    assert {name: tuple(value.shape) for name, value in placed.items()} == {
        name: tuple(value.shape) for name, value in unet.state_dict().items()
    }


@pytest.fixture(scope="module")
def placing(narrow: Any, published: Any, public_weights: Any) -> dict[str, Any]:
    """What holds a part's state dict against the architecture, and that state dict."""
    unet = empty_unet(UNet3DFpsConditionModel, {**narrow.unet, "motion_cond": True})
    vae, text, slots = empty_vae(AutoencoderKL, narrow.vae), CLIPTextConfig(**narrow.text), unet_slots(unet)
    return {
        "unet": (lambda state: place(state, slots, "the U-Net"), published.unet_state),
        "vae": (lambda state: place_vae(state, vae), part(published.state, VAE)),
        "text": (lambda state: place_text_encoder(state, text), part(published.state, TEXT)),
    }


NOTHING = torch.zeros(0)


@pytest.mark.parametrize(
    ("of", "key", "value", "complaint"),
    [
        ("unet", "out.2.bias", None, r"the U-Net: of 1487 weights 1 missing: out.2.bias"),
        ("unet", "combine_proj.weight", None, r"1 missing: combine_proj.weight"),
        ("unet", "extra.weight", NOTHING, r"1 not known: extra.weight"),
        ("unet", "out.2.bias", torch.zeros(5), r"1 of another shape: out.2.bias \[5\] instead of \[4\]"),
        ("vae", "decoder.conv_in.bias", None, r"the VAE .* 1 missing: decoder.conv_in.bias"),
        (
            "vae",
            "encoder.mid.attn_1.q.weight",
            None,
            r"the VAE .* 1 missing: encoder.mid_block.attentions.0.to_q.weight",
        ),
        ("vae", "encoder.extra.weight", NOTHING, r"the VAE .* 1 not known: encoder.extra.weight"),
        ("vae", "decoder.conv_in.bias", NOTHING, r"1 of another shape: decoder.conv_in.bias \[0\] instead of \[64\]"),
        ("text", "ln_final.bias", None, r"the text encoder .* 1 missing: ln_final.bias"),
        ("text", "transformer.resblocks.3.ln_1.bias", NOTHING, r"1 not known: transformer.resblocks.3.ln_1.bias"),
    ],
)
def test_a_key_that_is_missing_left_over_or_misshapen_is_named(
    placing: dict[str, Any], of: str, key: str, value: torch.Tensor | None, complaint: str
) -> None:
    held, state = placing[of]
    held(state)
    changed = {name: tensor for name, tensor in state.items() if name != key}
    if value is not None:
        changed[key] = value
    with pytest.raises(CheckpointError, match=complaint):
        held(changed)


def test_a_key_of_no_part_is_named(published: Any, narrow: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": {"surprise": NOTHING, "betas": NOTHING}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="1 keys are not known, such as surprise"):
        read_parts(tmp_path / "model.ckpt", published.unet, narrow)


def test_videocrafter2s_own_unet_is_refused_because_it_needs_guidance_and_many_steps(
    published: Any, narrow: Any
) -> None:
    with pytest.raises(CheckpointError, match="some 50 steps with two passes each"):
        read_parts(published.checkpoint, None, narrow)


def test_a_unet_without_motion_projections_is_imported_as_one(published: Any, narrow: Any, tmp_path: Path) -> None:
    motionless = {k: v for k, v in published.unet_state.items() if not k.startswith(("motion_cond", "combine"))}
    torch.save(motionless, tmp_path / "unet_no_mg.pt")
    parts = read_parts(published.checkpoint, tmp_path / "unet_no_mg.pt", narrow)
    assert parts.modules["unet"].config.motion_cond is False
    assert len(parts.weights["unet"]) == 1485


class Harm:
    """What a pickle may run when it is read."""

    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Harm()}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="code in a checkpoint is never run"):
        read_pickle(tmp_path / "model.ckpt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04", pickle.dumps({"a": 1}, protocol=2)])
def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model.ckpt is .*(ownload|trust)"):
        read_pickle(tmp_path / "model.ckpt")


def test_a_checkpoint_that_was_cut_short_is_told_from_a_whole_one(published: Any, tmp_path: Path) -> None:
    whole = published.unet.read_bytes()
    (tmp_path / "unet_mg.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        read_pickle(tmp_path / "unet_mg.pt")


def test_a_file_of_before_pytorch_1_6_says_how_to_rewrite_it(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"write it with torch\.save once"):
        read_pickle(tmp_path / "old.pt")


@pytest.mark.parametrize(
    ("saved", "complaint"),
    [
        ([torch.zeros(1)], "a LoRA, as T2V-Turbo's first version"),
        (torch.zeros(1), "holds Tensor; needed is a bare U-Net"),
    ],
)
def test_another_kind_of_unet_file_is_named(
    published: Any, narrow: Any, tmp_path: Path, saved: Any, complaint: str
) -> None:
    torch.save(saved, tmp_path / "unet_lora.pt")
    with pytest.raises(CheckpointError, match=complaint):
        read_parts(published.checkpoint, tmp_path / "unet_lora.pt", narrow)


def test_files_in_each_others_place_are_noticed(published: Any, narrow: Any) -> None:
    with pytest.raises(CheckpointError, match="has no state_dict, but time_embed"):
        read_parts(published.unet, None, narrow)
    with pytest.raises(CheckpointError, match="holds other things than weights: state_dict"):
        read_parts(published.checkpoint, published.checkpoint, narrow)


@pytest.mark.parametrize("value", [70000.0, float("nan"), float("-inf")])
def test_a_weight_that_float16_cannot_hold_is_named(tmp_path: Path, value: float) -> None:
    state = {"fine": torch.ones(3), "conv.weight": torch.tensor([1.0, value])}
    with pytest.raises(OverflowedError, match=r"conv.weight has a value of .*65504"):
        write_weights(tmp_path / "w.safetensors", listed(state), state.__getitem__, source="model.ckpt")


def test_a_damaged_weight_leaves_no_folder_behind(published: Any, narrow: Any, tmp_path: Path) -> None:
    state = dict(published.unet_state) | {"out.2.bias": torch.full((4,), 1e9)}
    torch.save(state, tmp_path / "unet_mg.pt")
    with pytest.raises(OverflowedError, match=r"conv_out\.bias has a value of 1e"):
        run(published, narrow, tmp_path / "teacher", unet=tmp_path / "unet_mg.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["unet_mg.pt"]


def run(published: Any, narrow: Any, output: Path, **changes: Any) -> Any:
    given = {"unet": published.unet, "tokenizer": str(published.tokenizer), "architecture": narrow} | changes
    return import_videocrafter2(published.checkpoint, output, **given)


def test_an_import_is_a_teacher_whose_manifest_says_what_it_can_do_and_what_it_is_made_of(
    published: Any, imported: tuple[Path, Manifest]
) -> None:
    folder, manifest = imported
    assert verify(folder) == manifest
    assert (manifest.name, manifest.variant, manifest.task) == ("t2v-turbo-v2-teacher", "teacher", "t2v")
    defaults = manifest.defaults
    assert (defaults.num_inference_steps, defaults.fps, defaults.guidance_scale) == (4, 8, 7.5)
    assert manifest.limits.max_prompt_tokens == 77
    assert set(manifest.training["imported_from"]) == {"model.ckpt", "unet_mg.pt"}
    assert str(published.folder) not in "".join(path.read_text() for path in folder.rglob("*.json"))
    subject = find_subject(str(folder))
    assert (subject.width, subject.height) == (64, 128)


def test_output_that_holds_something_else_is_left_alone(published: Any, narrow: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="is no artifact"):
        run(published, narrow, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("place", ["nowhere/at-all", "{tmp}", "missing"])
def test_a_tokenizer_that_cannot_be_had_says_what_to_do(tmp_path: Path, place: str) -> None:
    with pytest.raises(CheckpointError, match=r"copy vocab.json and merges.txt .* --tokenizer FOLDER"):
        load_tokenizer(place.format(tmp=tmp_path), vocab_size=49408, length=77)


def test_a_tokenizer_of_another_model_is_refused(published: Any) -> None:
    with pytest.raises(CheckpointError, match=r"has 283 tokens, and number 0 is '!'; CLIP's has 49408"):
        load_tokenizer(str(published.tokenizer), vocab_size=49408, length=77)


def test_a_tokenizer_is_found_in_a_model_folder_too(root: Path) -> None:
    tokenizer = load_tokenizer(str(root / "compression/teachers/small-t2v"), vocab_size=283, length=77)
    assert isinstance(tokenizer, CLIPTokenizer)
    assert (tokenizer.pad_token_id, tokenizer.model_max_length) == (0, 77)


def test_a_student_of_a_teacher_with_motion_guidance_keeps_it(narrow: Any) -> None:
    teacher = UNet3DFpsConditionModel(**narrow.unet, motion_cond=True)
    student = build_student(teacher, PruningPlan.preset("paper", teacher))
    assert student.config.motion_cond
    assert torch.equal(student.time_embedding.combine_proj.weight, teacher.time_embedding.combine_proj.weight)


@torch.no_grad()
def test_a_batch_tells_a_unet_with_motion_projections_what_the_pipeline_tells_it(narrow: Any) -> None:
    unet = UNet3DFpsConditionModel(**narrow.unet, motion_cond=True).eval()
    clips = {
        "latents_NFCHW": torch.randn(2, 3, 4, 8, 8),
        "weight_NFHW": torch.ones(2, 3, 8, 8),
        "fps_N": torch.tensor([8.0, 8.0]),
        "tokens_NL": torch.zeros(2, 77, dtype=torch.int64),
        "features_NLD": torch.randn(2, 77, 24),
    }
    schedule, timestep = NoiseSchedule.of(LCMScheduler(**SCHEDULER)), torch.tensor([749, 249])
    told_of = partial(VideoCrafter2().condition, unet)
    batch = TextBatch.draw(schedule, clips, torch.tensor([0, 1]), timestep, told_of, torch.Generator().manual_seed(0))
    told: list[torch.Tensor] = []
    unet.time_embedding.register_forward_pre_hook(lambda _, given: told.append(given[1]))
    batch.run(unet)
    motion = told[0][:, 257:]
    torch.testing.assert_close(motion, guidance_scale_embedding(torch.tensor([0.05, 0.0]), 256))


KILLED = """
import os, re, signal, sys
from pathlib import Path
from vdmini.artifact import replacing
from vdmini_compress.importing.checkpoint import read_pickle, tensors_in
from vdmini_compress.importing.weights_file import listed, write_weights
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
checkpoint, output = map(Path, sys.argv[1:])
before = peak()
with replacing(output) as folder:
    state = tensors_in(read_pickle(checkpoint), checkpoint, "a state dict")
    write_weights(folder / "unet.safetensors", listed(state), state.__getitem__, source="it")
    print(peak() - before, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak")
def test_weights_are_written_in_little_more_memory_than_the_checkpoints_pages_and_a_kill_leaves_nothing_whole(
    tmp_path: Path, untraced: dict[str, str]
) -> None:
    torch.save({f"{index}.weight": torch.ones(1024, 2048) for index in range(16)}, tmp_path / "model.ckpt")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "model.ckpt"), str(tmp_path / "teacher")]
    ended = subprocess.run(command, env=untraced, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL
    assert int(ended.stdout) < 1.3 * (tmp_path / "model.ckpt").stat().st_size
    assert not (tmp_path / "teacher").exists()
    assert not list(tmp_path.rglob("vdmini.json"))
