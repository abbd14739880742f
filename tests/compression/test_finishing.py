"""The last lesson of the image-to-video teacher: in pixels, and its U-Net alone learns."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vdmini.artifact import verify
from vdmini_compress.teachers import card, finishing
from vdmini_compress.teachers.finishing import Clips, Finish
from vdmini_compress.teachers.train import Start

TINY = Finish(1, batch_size=4, seen=4)


def same(one: Path, other: Path, part: str) -> bool:
    (here,), (there,) = ((folder / part).glob("*.safetensors") for folder in (one, other))
    weights = load_file(here), load_file(there)
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_finishing_changes_the_unet_alone_and_the_card_says_how(root: Path, tmp_path: Path) -> None:
    start, output = root / "compression/teachers/small-i2v", tmp_path / "finished"
    made = card.make_teacher(
        "small-i2v", output, device="cpu", clips=1, say=lambda _: None, start=Start(start), finish=TINY
    )
    assert same(output, start, "vae")
    assert same(output, start, "image_encoder")
    assert not same(output, start, "unet")
    assert made.training["finish"]["batch_size"] == 4
    assert made.training["started_from"]["sha256"] == verify(start).teacher.sha256
    assert "--start-from EARLIER --finish 1\n" in (output / "README.md").read_text()


def test_clips_are_a_steps_own_whoever_draws_them() -> None:
    here, later = (Clips(TINY)[step] for step in (0, 1))
    (other,) = finishing._loader(TINY, 0)
    assert torch.equal(here.frames_BF3HW, other.frames_BF3HW)
    assert torch.equal(here.weight_SF1HW, other.weight_SF1HW)
    assert not torch.equal(here.frames_BF3HW, later.frames_BF3HW)


def test_sprites_and_a_camera_are_seen() -> None:
    assert Finish(1, batch_size=16, seen=8).shown == [0, 1, 2, 3, 4, 5, 14, 15]


@pytest.mark.parametrize(
    ("name", "start", "kept"), [("small-i2v", False, True), ("small-t2v", True, True), ("small-i2v", True, False)]
)
def test_only_an_earlier_image_teacher_is_finished(
    name: str, start: bool, kept: bool, root: Path, tmp_path: Path
) -> None:
    begin = Start(root / "compression/teachers" / name, keep_denoiser=kept) if start else None
    with pytest.raises(ValueError, match="only small-i2v is finished in pixels, from an earlier one"):
        card.make_teacher(
            name, tmp_path / "x", device="cpu", clips=1, say=lambda _: None, start=begin, finish=Finish(1)
        )
    assert not list(tmp_path.iterdir())
