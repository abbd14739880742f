"""An imported model computes what the published code computes: `record_public.py` recorded that code's outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers import scheduling_lcm
from safetensors.torch import load_file

from vdmini.engine import Engine, load_engine
from vdmini.manifest import Manifest
from vdmini.unet3d_fps import guidance_scale_embedding, motion_condition, timestep_condition
from vdmini_compress.evaluate import settings_of

HERE = Path(__file__).parent
CLOSE = {"atol": 1e-5, "rtol": 0.0}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    return load_file(HERE / "data" / "public.safetensors")


@pytest.fixture(scope="module")
def engine(imported: tuple[Path, Manifest]) -> Engine:
    return load_engine(imported[0], device="cpu", dtype="float32")


@torch.no_grad()
@pytest.mark.parametrize("fps", [8, 16])
@pytest.mark.parametrize("motion", [False, True])
def test_the_unet_predicts_what_the_published_one_does(
    engine: Engine, public_weights: Any, public: dict[str, torch.Tensor], fps: int, motion: bool
) -> None:
    timestep = torch.tensor([public_weights.TIMESTEP])
    condition = timestep_condition(
        guidance_scale_embedding(torch.tensor([public_weights.GUIDANCE_SCALE]), 256),
        torch.tensor([fps]),
        motion_condition(timestep, public_weights.MOTION_GS, 500) if motion else None,
    )
    made = engine.pipeline.unet(
        public_weights.given("latents"), timestep, public_weights.given("context"), timestep_cond=condition
    )
    names = [name for name in public if name.startswith("unet")]
    wanted = f"unet fps {fps}{' motion' * motion}"
    errors = {name: (made.sample - public[name]).abs().max().item() for name in names}
    assert errors[wanted] < 1e-5
    assert min(error for name, error in errors.items() if name != wanted) > 1e-3


@torch.no_grad()
def test_sampling_ends_where_the_published_pipeline_does(
    engine: Engine, public_weights: Any, public: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(1, 1 + public_weights.STEPS))
    monkeypatch.setattr(
        scheduling_lcm, "randn_tensor", lambda shape, **_: public_weights.drawn(f"noise {next(count)}", tuple(shape))
    )
    monkeypatch.setattr(engine.pipeline, "encode_prompt", lambda _, **__: public_weights.given("context"))
    settings: dict[str, Any] = {"num_frames": 3, "output_type": "latent", "latents": public_weights.given("latents")}
    made = engine.pipeline("", **settings).frames
    torch.testing.assert_close(made, public["clip"], atol=1e-5 * public["clip"].abs().max().item(), rtol=0)


@torch.no_grad()
def test_the_vae_encodes_and_decodes_as_the_published_one_does(
    engine: Engine, public_weights: Any, public: dict[str, torch.Tensor]
) -> None:
    vae = engine.pipeline.vae
    torch.testing.assert_close(
        vae.encode(public_weights.given("pixels")).latent_dist.mode(), public["vae encoded"], **CLOSE
    )
    torch.testing.assert_close(vae.decode(public_weights.given("vae latents")).sample, public["vae decoded"], **CLOSE)


@torch.no_grad()
def test_the_text_encoder_gives_openclips_penultimate_features(
    engine: Engine, public_weights: Any, public: dict[str, torch.Tensor]
) -> None:
    made = engine.pipeline.text_encoder(public_weights.drawn_tokens()).last_hidden_state
    torch.testing.assert_close(made, public["text"], **CLOSE)


def test_a_sentence_is_filled_up_with_zeros_as_openclip_does(engine: Engine) -> None:
    tokens = engine.pipeline.tokenizer(["a red circle"], padding="max_length", truncation=True).input_ids[0]
    assert len(tokens) == 77
    end = tokens.index(engine.pipeline.tokenizer.eos_token_id)
    assert set(tokens[end + 1 :]) == {0}


def test_an_imported_model_films_a_sentence(engine: Engine) -> None:
    made = engine.generate(**settings_of(engine, prompt="a red circle moving up"))
    assert made.frames.shape == (3, 128, 64, 3)
    assert made.frames.std() > 1
