"""Clips without words: nothing in the file names its model, and the pictures are the same."""

import av
import numpy as np
import pytest

from vdmini.video import write_mp4
from vdmini_serve.api.nameless_clip import BrokenBoxesError, nameless

COMMENT = "model=small-i2v-vdmini plan=sha256:abc seed=7"


@pytest.fixture
def clip(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8)
    write_mp4(frames, tmp_path / "clip.mp4", fps=8, comment=COMMENT)
    return (tmp_path / "clip.mp4").read_bytes()


def pictures(path):
    with av.open(str(path)) as container:
        return container.metadata, [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_words_are_gone_and_the_pictures_are_not(clip, tmp_path):
    (tmp_path / "nameless.mp4").write_bytes(nameless(clip))
    (told, before), (silent, after) = pictures(tmp_path / "clip.mp4"), pictures(tmp_path / "nameless.mp4")
    assert told["comment"] == COMMENT
    assert "comment" not in silent
    assert b"model=" not in nameless(clip)
    assert len(nameless(clip)) == len(clip)
    assert len(after) == 8
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert nameless(nameless(clip)) == nameless(clip)


@pytest.mark.parametrize("broken", [b"no video at all", b"\xff\xff\xff\xffmoov", b"\x00\x00\x00\x04moov"])
def test_what_cannot_be_read_is_not_handed_out(broken):
    with pytest.raises(BrokenBoxesError):
        nameless(broken)


def test_a_clip_that_ends_early_is_not_handed_out(clip):
    with pytest.raises(BrokenBoxesError):
        nameless(clip[:-1])
