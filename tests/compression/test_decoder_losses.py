"""The losses of healing a decoder equal their formulas; features are read from local files that run no code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from vdmini_compress.decoder.losses import perceptual_loss, reconstruction_loss, temporal_loss
from vdmini_compress.decoder.perceptual import EncoderFeatures, VGGFeatures, features_of


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def temporal() -> Any:
    return AutoencoderKLTemporalDecoder(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2)


def spatial() -> Any:
    stages = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=4, **stages)


@pytest.fixture(params=[temporal, spatial], ids=["temporal", "spatial"])
def vae(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return request.param().eval().requires_grad_(False)


def test_reconstruction_adds_absolute_squared_and_edge_errors() -> None:
    made, right, weight = draw(1, 2, 3, 4, 4), draw(1, 2, 3, 4, 4, seed=1), draw(1, 2, 1, 4, 4, seed=2).abs()
    share = (weight / weight.mean()).expand_as(made)
    error = made - right
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    expected = (share * error.abs()).mean() + 4 * (share * error**2).mean() + edges
    torch.testing.assert_close(reconstruction_loss(made, right, weight), expected)


def test_the_perceptual_loss_is_lpips() -> None:
    made, right, weights = [draw(2, 3, 2, 2)], [draw(2, 3, 2, 2, seed=1)], [draw(3, seed=2).abs()]
    total = 0.0
    for n in range(2):
        for y in range(2):
            for x in range(2):
                a, b = made[0][n, :, y, x], right[0][n, :, y, x]
                total += float((weights[0] * (a / a.norm() - b / b.norm()) ** 2).sum()) / 8
    assert float(perceptual_loss(made, right, weights)) == pytest.approx(total, rel=1e-4)
    assert float(perceptual_loss(made * 2, made * 2, weights * 2)) == 0
    blank = perceptual_loss([torch.zeros(1, 3, 2, 2, requires_grad=True)], [right[0][:1]], weights)
    assert torch.isfinite(blank)


def test_the_temporal_loss_sees_flicker_and_no_constant_error() -> None:
    right = draw(1, 3, 3, 2, 2)
    assert float(temporal_loss(right + 0.3, right)) == pytest.approx(0, abs=1e-6)
    flicker = torch.tensor([0.1, -0.1, 0.1])[None, :, None, None, None]
    assert float(temporal_loss(right + flicker, right)) == pytest.approx(0.2)


def test_encoder_features_are_those_of_the_frozen_encoder(vae: Any) -> None:
    picture, seen = draw(1, 3, 8, 8), []
    handles = [b.resnets[-1].register_forward_hook(lambda *a: seen.append(a[2])) for b in vae.encoder.down_blocks]
    vae.encode(picture)
    expected = list(seen)
    for handle in handles:
        handle.remove()
    features = EncoderFeatures(vae)
    assert all(torch.equal(a, b) for a, b in zip(features(picture), expected, strict=True))
    assert [len(weight) for weight in features.weights] == [f.shape[1] for f in expected]


def vgg_weights(prefix: str = "features.{}") -> dict[str, Tensor]:
    """Two stages, of two convolutions and of one, numbered as torchvision does."""
    shapes = {0: (4, 3), 2: (4, 4), 5: (6, 4)}
    weights = {}
    for number, (out, into) in shapes.items():
        weights[f"{prefix.format(number)}.weight"] = draw(out, into, 3, 3, seed=number)
        weights[f"{prefix.format(number)}.bias"] = draw(out, seed=number + 1)
    return weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_vgg_file_is_read_and_tapped_before_each_pooling(vae: Any, tmp_path: Path, suffix: str) -> None:
    weights, file = vgg_weights() | {"classifier.0.weight": draw(2, 2)}, tmp_path / f"vgg{suffix}"
    save_file(weights, file) if suffix == ".safetensors" else torch.save(weights, file)
    picture = draw(1, 3, 8, 8)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    hidden = ((picture + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    for number in (0, 2):
        hidden = F.conv2d(hidden, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1)
        hidden = hidden.relu()
    deep = F.conv2d(F.max_pool2d(hidden, 2), weights["features.5.weight"], weights["features.5.bias"], padding=1).relu()
    features = features_of(vae, file)
    for made, expected in zip(features(picture), (hidden, deep), strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-3)
    assert [weight.tolist() for weight in features.weights] == [[0.5] * 4, [0.5] * 6]


def test_lpips_brings_its_own_channel_weights() -> None:
    lpips = vgg_weights("net.slice1.{}")
    lpips |= {"lin0.model.1.weight": draw(1, 4, 1, 1), "lin1.model.1.weight": draw(1, 6, 1, 1)}
    features = VGGFeatures(lpips)
    assert [weight.tolist() for weight in features.weights] == [
        lpips[f"lin{i}.model.1.weight"].flatten().tolist() for i in (0, 1)
    ]
    with pytest.raises(ValueError, match=r"widths \[4\], its convolutions \[4, 6\]"):
        VGGFeatures({name: weight for name, weight in lpips.items() if "lin1" not in name})


class Harmful:
    def __reduce__(self) -> Any:
        return (print, ("code in a pickle ran",))


def test_other_files_are_refused_and_never_run(vae: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"features.0.weight": Harmful()}, tmp_path / "harmful.pth")
    save_file({"unet.weight": draw(2)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_text("no weights")
    (tmp_path / "vgg.bin").write_text("")
    for name, reason in (
        ("harmful.pth", "Weights only load failed"),
        ("other.safetensors", "no convolutions named as in VGG16"),
        ("broken.safetensors", "header"),
        ("vgg.bin", r"must end in .safetensors, .pth or .pt"),
        ("missing.pth", "No such file"),
    ):
        with pytest.raises(ValueError, match=rf"{name} can't be used for the perceptual loss: .*{reason}"):
            features_of(vae, tmp_path / name)
    assert capsys.readouterr().out == ""
