"""Every switch makes the same clip, a tuned pipeline is saved like a plain one, and decoding survives little memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image

from vdmini.chunked_decode import ChunkedDecode, Chunks, even, free_bytes
from vdmini.engine import Engine, VideoInterrupted, load_engine
from vdmini.switches import PLAIN, RuntimeSettings, label, settings_for
from vdmini.weights import save_pipeline

CAPTION = "a red circle moving left slowly on a white background"


def asked_of(engine: Engine) -> dict[str, Any]:
    ramp = np.broadcast_to(np.linspace(20, 220, 64).astype(np.uint8)[None, :, None], (64, 64, 3))
    i2v = engine.manifest.task == "i2v"
    image = Image.fromarray(np.ascontiguousarray(ramp)) if i2v else None
    return {**engine.manifest.defaults.model_dump(), "seed": 3, "image": image, "prompt": None if i2v else CAPTION}


def psnr(made: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    error = np.square(made.astype(np.float64) - right).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


@pytest.fixture(scope="session")
def plain_frames(teacher_engine: Engine) -> NDArray[np.uint8]:
    return teacher_engine.generate(**asked_of(teacher_engine)).frames


@pytest.mark.parametrize(
    "settings",
    [
        RuntimeSettings(unet_channels_last=True, vae_channels_last=True, attention="math"),
        RuntimeSettings(fused_projections=True, on_device=True, cached_lookups=True),
        RuntimeSettings(fused_blocks=True, on_device=True, cuda_graphs=True, encoder_graphs=True),
    ],
    ids=label,
)
def test_a_switch_changes_no_clip_by_more_than_rounding(
    teacher_folder: Path, plain_frames: NDArray[np.uint8], settings: RuntimeSettings
) -> None:
    engine = load_engine(teacher_folder, device="cpu", dtype="float32", runtime=settings)
    assert psnr(engine.generate(**asked_of(engine)).frames, plain_frames) > 60


@pytest.mark.parametrize(
    "settings",
    [RuntimeSettings(unet_channels_last=True, vae_channels_last=True), RuntimeSettings(fused_blocks=True)],
    ids=label,
)
def test_bfloat16_stays_within_40_db(
    teacher_folder: Path, plain_frames: NDArray[np.uint8], settings: RuntimeSettings
) -> None:
    engine = load_engine(teacher_folder, device="cpu", dtype="bfloat16", runtime=settings)
    assert psnr(engine.generate(**asked_of(engine)).frames, plain_frames) >= 40


def test_an_engine_is_tuned_once(teacher_folder: Path) -> None:
    engine = load_engine(teacher_folder, device="cpu", runtime=PLAIN)
    with pytest.raises(RuntimeError, match="was tuned before; load it anew"):
        engine.tune(PLAIN)


def test_a_tuned_pipeline_is_saved_with_the_weights_of_a_plain_one(teacher_folder: Path, tmp_path: Path) -> None:
    engine = load_engine(
        teacher_folder,
        device="cpu",
        dtype="float32",
        runtime=RuntimeSettings(unet_channels_last=True, vae_channels_last=True, cached_lookups=True),
    )
    save_pipeline(engine.pipeline, tmp_path)
    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"):
        assert (tmp_path / name).read_bytes() == (teacher_folder / name).read_bytes()


def test_what_is_looked_up_once_is_not_looked_up_again(teacher_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine(teacher_folder, device="cpu", dtype="float32")
    kinds = type(engine.pipeline), type(engine.pipeline.unet)
    engine.tune(RuntimeSettings(cached_lookups=True))
    asked: list[object] = []
    for name in ("get_parameter_dtype", "get_parameter_device"):
        monkeypatch.setattr(f"diffusers.models.modeling_utils.{name}", asked.append)
    monkeypatch.setattr("diffusers.hooks.group_offloading._get_group_onload_device", asked.append)
    engine.generate(**asked_of(engine))
    assert asked == []
    assert (engine.pipeline.device, engine.pipeline.unet.dtype) == (torch.device("cpu"), torch.float32)
    assert isinstance(engine.pipeline, kinds[0])
    assert isinstance(engine.pipeline.unet, kinds[1])


def test_a_cpu_gets_the_switches_that_were_measured_and_an_unknown_device_none() -> None:
    assert settings_for(torch.device("cpu")).fused_blocks
    assert settings_for(torch.device("meta")) == PLAIN
    assert label(PLAIN) == ""
    assert label(RuntimeSettings(vae_channels_last=True, compile="default")) == "vae_channels_last compile=default"


def test_an_unknown_switch_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="turbo"):
        RuntimeSettings.model_validate({"turbo": True})


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    made: Any = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    return made.eval()  # type: ignore[no-any-return]


class Scarce(AutoencoderKL):
    """A VAE on a device that holds so many frames at once: the one thing that can't be had here is a full GPU."""

    holds = 3
    tried: list[int]

    def decode(self, z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        self.tried.append(len(z))
        if len(z) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().decode(z, *args, **kwargs)


def test_chunks_of_a_frame_wise_decoder_make_the_same_pixels(vae: AutoencoderKL) -> None:
    z = torch.randn(7, 4, 4, 4)
    with torch.inference_mode():
        whole = vae.decode(z).sample
        parts = ChunkedDecode(vae, Chunks(3))(z)
    assert torch.allclose(parts.sample, whole, atol=1e-5)


def test_a_chunk_that_does_not_fit_is_halved_and_the_size_is_remembered(vae: AutoencoderKL) -> None:
    scarce: Any = Scarce.from_config(vae.config)
    scarce.load_state_dict(vae.state_dict())
    scarce.tried = []
    decode, z = ChunkedDecode(scarce.eval(), Chunks()), torch.randn(8, 4, 4, 4)
    with torch.inference_mode():
        made = decode(z).sample
        assert torch.allclose(made, vae.decode(z).sample, atol=1e-5)
        assert scarce.tried == [8, 4, 2, 2, 2, 2]
        decode(z)
    assert scarce.tried[6:] == [2, 2, 2, 2]
    scarce.holds = 0
    with pytest.raises(torch.OutOfMemoryError):
        decode(z)


def test_chunks_are_as_few_and_as_even_as_memory_allows(vae: AutoencoderKL, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, z = ChunkedDecode(vae, Chunks()), torch.zeros(14, 4, 72, 128)
    frame = decode.frame_bytes(z)
    assert frame == 4 * 16 * 144 * 256 * 4
    for free, chunk in ((100 * frame, 14), (10 * frame, 7), (6 * frame, 4), (1, 1)):
        monkeypatch.setattr("vdmini.chunked_decode.free_bytes", lambda _, free=free: free)
        assert decode.chunk_size(z) == chunk
    assert [even(16, most) for most in (16, 15, 6, 1)] == [16, 8, 6, 1]


def test_free_memory_is_told_on_this_machine() -> None:
    assert (free_bytes(torch.device("cpu")) or 0) > 2**20


def test_a_generation_can_be_stopped_between_two_chunks(teacher_folder: Path) -> None:
    engine = load_engine(teacher_folder, device="cpu", dtype="float32", runtime=RuntimeSettings(decode_chunk_size=2))
    told: list[float] = []

    def stop_at_the_third_chunk(share: float) -> None:
        told.append(share)
        if told.count(0.9) == 4:  # the last denoising step says so, too
            raise VideoInterrupted("cancel")

    with pytest.raises(VideoInterrupted):
        engine.generate(**asked_of(engine), on_progress=stop_at_the_third_chunk)
    assert 1.0 not in told
    assert engine.generate(**asked_of(engine)).frames.shape == (8, 64, 64, 3)
