"""The healing of a compressed decoder: what learns, what is left alone, and the whole command."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import Tensor, nn

import vdmini
from vdmini import small_decoder
from vdmini.artifact import verify
from vdmini.decoder_channels import widths_of
from vdmini.engine import load_engine
from vdmini.small_decoder import removable_layers
from vdmini_compress.decoder import choose, command, worth
from vdmini_compress.decoder.films import Films, to_bytes
from vdmini_compress.decoder.heal import Healing, heal
from vdmini_compress.decoder.job import as_stored, refuse_foreign_vae
from vdmini_compress.decoder.measure import DecoderMeasures, qualities
from vdmini_compress.decoder.perceptual import features_of
from vdmini_compress.decoder.prune import without_layers
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.decoder.worth import wire_costs
from vdmini_compress.teachers.autoencoder import decode

FRAMES = 2
SMALL_VAES = ("VDMiniAutoencoderKL", "VDMiniAutoencoderKLTemporalDecoder")


pytestmark = pytest.mark.usefixtures("one_thread")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(vae: nn.Module) -> Any:
    """Redraw every weight: what starts at zero would hide a layer that is missing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + 0.02)
    return vae.eval().requires_grad_(False)


def temporal() -> Any:
    stages = ("DownEncoderBlock2D",) * 2
    return spread(
        AutoencoderKLTemporalDecoder(block_out_channels=(32, 64), down_block_types=stages, layers_per_block=2)
    )


def spatial() -> Any:
    stages = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return spread(AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=4, layers_per_block=1, **stages))


@pytest.fixture(params=[temporal, spatial], ids=["temporal", "spatial"])
def vae(request: pytest.FixtureRequest) -> Any:
    return request.param()


def by_work(original: Any, small: Any, latents_BFCHW: Tensor, *, runs: int) -> float:
    """Instead of a clock, which no test can rely on."""
    return sum(wire_costs(small, latents_BFCHW).values()) / sum(wire_costs(original, latents_BFCHW).values())


def films_of(vae: Any, count: int = 6) -> Films:
    latents = draw(count, FRAMES, 4, 4, 4, seed=5)
    with torch.no_grad():
        original = to_bytes(decode(vae, latents))
    return Films(latents, original, original, torch.ones_like(original[:, :, :1]), torch.arange(count) >= count // 2)


def settings(**changes: Any) -> DecoderSettings:
    fast = {"steps": 6, "checkpoint_every": 2, "warmup": 1, "shards": 2, "adversarial_after": 0.0, "ema_decay": 0.0}
    return DecoderSettings.model_validate({**fast, "perceptual_frames": 1, **changes})


def healing_of(vae: Any, **changes: Any) -> Healing:
    small = without_layers(vae, [removable_layers(vae.decoder)[0]])
    return Healing(small, films_of(vae), features_of(vae, None), settings(**changes), seed=0)


def test_losses_reach_the_decoder_alone_and_the_discriminators_the_discriminator_alone(vae: Any) -> None:
    healing = healing_of(vae)
    assert healing.discriminator is not None
    decoder, discriminator = healing.vae.decoder.requires_grad_(True), healing.discriminator
    losses = healing.losses(torch.Generator().manual_seed(1), 0)
    assert set(losses) == {"true", "original", "perceptual", "temporal", "adversarial"}
    shown = torch.autograd.grad(sum(losses.values()), list(decoder.parameters()), allow_unused=True)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in shown)
    assert all(parameter.grad is None for parameter in (*vae.parameters(), *discriminator.parameters()))
    assert not any(parameter.requires_grad for parameter in (*vae.parameters(), *healing.vae.encoder.parameters()))
    loss = healing.discriminator_losses(torch.Generator().manual_seed(1), 0)["discriminator"]
    loss.backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    assert all(parameter.grad is None for parameter in decoder.parameters())


def test_losses_without_weight_are_not_computed(vae: Any) -> None:
    off = {f"lambda_{name}": 0 for name in ("true", "perceptual", "temporal", "adversarial")}
    healing = healing_of(vae, **off)
    assert set(healing.losses(torch.Generator().manual_seed(1), 0)) == {"original"}
    assert healing.opponent() is None


def test_the_adversarial_loss_waits_for_the_discriminator(vae: Any) -> None:
    healing = healing_of(vae, adversarial_after=0.5)
    early, late = (healing.losses(torch.Generator().manual_seed(1), step)["adversarial"].item() for step in (2, 3))
    assert early == 0
    assert late != 0


class Killed(BaseException):
    pass


def healed(vae: Any, folder: Path, kill_at: int | None = None) -> Healing:
    healing = healing_of(vae)
    plain = healing.losses

    def losses(generator: torch.Generator, step: int) -> dict[str, Tensor]:
        if step == kill_at:
            raise Killed
        return plain(generator, step)

    healing.losses = losses  # type: ignore[method-assign]
    heal(healing, folder, seed=3, report=lambda _: None)
    return healing


def test_a_killed_healing_resumes_to_the_same_weights_and_changes_nothing_else(vae: Any, tmp_path: Path) -> None:
    before = copy.deepcopy(vae.state_dict())
    straight = healed(vae, tmp_path / "straight")
    with pytest.raises(Killed):
        healed(vae, tmp_path / "killed", kill_at=5)
    resumed = healed(vae, tmp_path / "killed")
    for first, second in ((straight.vae, resumed.vae), (straight.discriminator, resumed.discriminator)):
        for expected, value in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(expected, value)
    assert all(torch.equal(weight, before[name]) for name, weight in vae.state_dict().items())
    encoder = straight.vae.encoder.state_dict()
    assert all(torch.equal(weight, before[f"encoder.{name}"]) for name, weight in encoder.items())
    start = without_layers(vae, [removable_layers(vae.decoder)[0]]).decoder
    moved = zip(straight.vae.decoder.parameters(), start.parameters(), strict=True)
    assert all(not torch.equal(after, first) for after, first in moved)


def test_healing_brings_the_pixels_back_to_the_originals(tmp_path: Path) -> None:
    vae = spatial()
    healing = healing_of(vae, steps=60, ema_decay=0.5, learning_rate=3e-3)
    before = qualities(healing.vae, healing.films)["all"].likeness_db
    heal(healing, tmp_path, seed=0, report=lambda _: None)
    assert qualities(healing.vae, healing.films)["all"].likeness_db > before + 3


def test_quality_is_told_for_encoded_and_generated_latents_apart(vae: Any) -> None:
    films = films_of(vae)
    found = qualities(vae, films)
    assert {kind: quality.clips for kind, quality in found.items()} == {"encoded": 3, "generated": 3, "all": 6}
    assert found["all"].likeness_db > 50
    assert found["all"].change_error["original"] == 0
    assert set(qualities(vae, films.some(slice(0, 3)))) == {"encoded", "all"}


def test_a_compressed_decoder_is_not_compressed_again(vae: Any) -> None:
    refuse_foreign_vae(vae)
    with pytest.raises(ValueError, match="compressed already; give the artifact that it was made from"):
        refuse_foreign_vae(without_layers(vae, ()))
    with pytest.raises(ValueError, match="of class Identity; known are AutoencoderKLTemporalDecoder, AutoencoderKL"):
        refuse_foreign_vae(nn.Identity())


def test_weights_are_measured_as_they_are_stored(vae: Any) -> None:
    before = {name: weight.half().float() for name, weight in vae.state_dict().items()}
    stored = as_stored(vae).state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in stored.items())


@pytest.mark.parametrize(("argument", "value"), [("--latency", "1.5"), ("--multiple", "1000")])
def test_the_command_refuses_what_is_out_of_range_by_its_name(argument: str, value: str) -> None:
    parsed = parser().parse_args(["teacher", "--output", "out", argument, value])
    with pytest.raises(ValueError, match=f"{argument}: Input should be less than"):
        command.settings_from(parsed)


def parser() -> Any:
    import argparse

    made = argparse.ArgumentParser()
    command.add(made)
    return made


def test_the_command_makes_a_whole_artifact_with_a_small_decoder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    for name in SMALL_VAES:
        monkeypatch.setattr(vdmini, name, getattr(small_decoder, name), raising=False)
    monkeypatch.setattr(choose, "share", by_work)
    monkeypatch.setattr(worth, "PROBES", 1)
    teacher, output = root / "compression/teachers/small-t2v", tmp_path / "small"
    fast = ["--clips", "4", "--held-out", "4", "--steps", "2", "--multiple", "32", "--latency", "0.8", "--json"]
    layers = ["--layers", "up_blocks.3.resnets.0", "up_blocks.3.resnets.1"]
    parsed = parser().parse_args([str(teacher), "--output", str(output), *fast, *layers])
    assert command.run(parsed, Console(stderr=True)) == 0
    measures = DecoderMeasures.model_validate_json((output / "decoder.json").read_text())
    assert json.loads(capsys.readouterr().out) == json.loads(measures.model_dump_json())
    made, before = verify(output), verify(teacher)
    assert (made.variant, made.teacher.id, made.name) == ("vdmini", "small-t2v", before.name)
    assert made.cost.vae_decoder_parameters < before.cost.vae_decoder_parameters
    assert made.cost.unet_parameters == before.cost.unet_parameters
    assert (made.latency, made.quality) == ((), {})
    assert made.training["vae_decoder"]["layers"] == list(measures.removed_layers) == layers[1:]
    assert measures.parameters["vdmini"] < measures.parameters["original"]
    assert "/" not in json.loads((output / "vae/config.json").read_text()).get("_name_or_path", "")
    engine = load_engine(output, device="cpu")
    assert type(engine.pipeline.vae).__name__ == "VDMiniAutoencoderKL"
    assert widths_of(engine.pipeline.vae.decoder) == measures.widths
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
