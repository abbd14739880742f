"""Real videos: they are read at the right moment, skipped when they can't be, and encoded once.

The pictures' brightness tells which frame of a file they are: frame k is `LOW + STEP * k` of 255, up to frame 55.
"""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from torch import Tensor

from vdmini.engine import Engine, load_engine
from vdmini_compress.recipe import Distill
from vdmini_compress.teachers.image_to_video import embed
from vdmini_compress.videos import world as worlds
from vdmini_compress.videos.cache import CacheError, ClipCache, Shard, fill
from vdmini_compress.videos.encoders import ImageClipEncoder, TextClipEncoder
from vdmini_compress.videos.films import Film, Listing, fingerprint
from vdmini_compress.videos.reading import Clip, read_clip
from vdmini_compress.videos.settings import ClipForm, Videos
from vdmini_compress.videos.skips import Tally, UnusableVideo
from vdmini_compress.videos.sources import list_films
from vdmini_compress.videos.world import Encoding, video_world

LOW, STEP = 20, 4
FPS = 24
FORM = ClipForm(num_frames=4, width=64, height=64, fps=8.0)


def write(
    path: Path,
    frames: int = 48,
    *,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    ticks: Callable[[int], int] = lambda k: k,
    sound: bool = False,
    keyframes: int = 12,
    b_frames: int = 0,
) -> Path:
    """A video of `frames` frames at 24 per second; `ticks` gives each frame's time in 24ths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = size
        stream.pix_fmt, stream.codec_context.gop_size, stream.codec_context.max_b_frames = (
            "yuv420p",
            keyframes,
            b_frames,
        )
        stream.bit_rate = 4_000_000
        track = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for k in range(frames):
            picture = np.full((size[1], size[0], 3), LOW + STEP * min(k, 55), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = ticks(k)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            for k in range(frames // 3):
                chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts = 8000, 1000 * k
                container.mux(track.encode(chunk))
            container.mux(track.encode(None))
    return path


def film(path: Path, **fields: Any) -> Film:
    return Film(path, path.name, **fields)


def read(path: Path, form: ClipForm = FORM, seed: int = 0, **fields: Any) -> Clip:
    return read_clip(film(path, **fields), form, torch.Generator().manual_seed(seed))


def shown(clip: Clip) -> list[float]:
    """Which frames of its file a clip shows, as far as their brightness tells."""
    return ((clip.frames_F3HW.mean(dim=(1, 2, 3)) * 255 - LOW) / STEP).tolist()


def expected(clip: Clip, form: ClipForm = FORM) -> list[float]:
    return [np.floor((clip.start_seconds + k / form.fps) * FPS + 0.02) for k in range(form.num_frames)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mov", "mpeg4"), ("a.ts", "libx264")]
)
def test_a_clip_shows_the_frames_of_its_moment(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec=codec)
    starts = set()
    for seed in range(4):
        clip = read(path, seed=seed)
        assert clip.frames_F3HW.shape == (4, 3, 64, 64)
        assert clip.frames_F3HW.dtype == torch.float32
        assert shown(clip) == pytest.approx(expected(clip), abs=0.5)
        starts.add(round(clip.start_seconds, 3))
    assert len(starts) == 4


def test_an_index_of_decoding_times_makes_no_clip_late(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", codec="mpeg4", b_frames=2)
    for seed in range(6):
        clip = read(path, seed=seed)
        # AVI tells decoding times only, and with B-frames a frame is shown one later.
        assert shown(clip) == pytest.approx([max(0, k - 1) for k in expected(clip)], abs=0.5)


def test_only_what_the_clip_needs_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.mp4", 480, size=(32, 32), ticks=lambda k: k)
    decoded: list[float] = []
    monkeypatch.setattr("vdmini_compress.videos.reading._time", lambda f: decoded.append(f.time) or f.time)
    clip = read(path, start_seconds=15.0, end_seconds=16.0, form=FORM.model_copy(update={"width": 32, "height": 32}))
    assert 15.0 <= clip.start_seconds <= 15.5
    assert min(decoded) >= 14.0
    assert max(decoded) <= 16.1


def test_the_same_generator_reads_the_same_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    first, again = read(path, seed=5), read(path, seed=5)
    assert first.start_seconds == again.start_seconds
    assert torch.equal(first.frames_F3HW, again.frames_F3HW)


def test_a_variable_frame_rate_is_followed_by_its_timestamps(tmp_path: Path) -> None:
    def ticks(k: int) -> int:
        return k if k < 24 else 24 + 3 * (k - 24)  # from the second second on, 8 frames a second

    path = write(tmp_path / "vfr.mp4", 40, ticks=ticks)
    form = FORM.model_copy(update={"fps": 12.0})
    for seed in range(4):
        clip = read(path, form, seed)
        times = [clip.start_seconds + k / 12 for k in range(4)]
        right = [np.floor(24 * t + 0.02) if t < 1 else 24 + np.floor(8 * (t - 1) + 0.008) for t in times]
        assert shown(clip) == pytest.approx(right, abs=0.5)


def test_sound_changes_nothing(tmp_path: Path) -> None:
    silent, loud = write(tmp_path / "silent.mp4"), write(tmp_path / "loud.mp4", sound=True)
    with av.open(loud) as container:
        assert len(container.streams.audio) == 1
    assert torch.equal(read(silent).frames_F3HW, read(loud).frames_F3HW)


def test_an_upright_video_is_cropped_in_the_middle_and_not_squeezed(tmp_path: Path) -> None:
    path = tmp_path / "upright.mp4"
    picture = np.zeros((160, 64, 3), np.uint8)
    picture[48:112] = 200
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 160, "yuv420p"
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    assert read(path).frames_F3HW.mean() == pytest.approx(200 / 255, abs=0.02)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_turned_video_is_shown_upright(tmp_path: Path, degrees: int) -> None:
    plain, turned, right = tmp_path / "plain.mp4", tmp_path / "turned.mp4", tmp_path / "right.mp4"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    made = "testsrc=size=96x64:duration=1:rate=8"
    subprocess.run([*ffmpeg, "-f", "lavfi", "-i", made, "-pix_fmt", "yuv420p", plain], check=True)
    subprocess.run([*ffmpeg, "-display_rotation", str(degrees), "-i", plain, "-c", "copy", turned], check=True)
    subprocess.run([*ffmpeg, "-i", turned, "-crf", "5", right], check=True)  # ffmpeg turns the pixels itself
    assert (read(turned).frames_F3HW - read(right).frames_F3HW).abs().mean() < 0.02


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("good") / "good.mp4", 96, size=(96, 64))


def text_file(path: Path, _: Path) -> None:
    path.write_text("not a video at all\n" * 50)


def playlist(path: Path, _: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def absent(path: Path, _: Path) -> None:
    path.unlink(missing_ok=True)


def cut_in_half(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def cut_with_its_index_in_front(path: Path, good: Path) -> None:
    """The header promises four seconds of which a fifth is there."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(good), "-c", "copy"]
    subprocess.run([*ffmpeg, "-movflags", "+faststart", str(path)], check=True)
    content = path.read_bytes()
    start = content.index(b"mdat")
    path.write_bytes(content[: start + (len(content) - start) // 5])


def three_frames(path: Path, _: Path) -> None:
    write(path, 3)


def tiny(path: Path, _: Path) -> None:
    write(path, 48, size=(32, 16))


def slideshow(path: Path, _: Path) -> None:
    write(path, 8, ticks=lambda k: 24 * k)


def sound_only(path: Path, _: Path) -> None:
    with av.open(path, "w") as container:
        track = container.add_stream("aac", rate=8000, layout="mono")
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts = 8000, 0
        container.mux(track.encode(chunk))
        container.mux(track.encode(None))


UNUSABLE = [
    (text_file, "broken"),
    (playlist, "broken"),
    (empty, "broken"),
    (absent, "broken"),
    (cut_in_half, "broken"),
    (cut_with_its_index_in_front, "broken"),
    (three_frames, "too short"),
    (tiny, "too small"),
    (slideshow, "too few frames a second"),
    (sound_only, "no video stream"),
]


@pytest.mark.parametrize(("make", "reason"), UNUSABLE, ids=lambda value: getattr(value, "__name__", value))
def test_an_unusable_video_is_told_by_its_reason(
    tmp_path: Path, good: Path, make: Callable[[Path, Path], None], reason: str
) -> None:
    path = tmp_path / "bad.mp4"
    make(path, good)
    with pytest.raises(UnusableVideo) as caught:
        read(path, start_seconds=0.0 if make is not cut_with_its_index_in_front else 2.0)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")])
def test_whatever_bytes_are_wrong_a_file_gives_a_clip_or_is_unusable(tmp_path: Path, name: str, codec: str) -> None:
    path, random = write(tmp_path / name, codec=codec, sound=name != "a.avi"), np.random.default_rng(0)
    whole, outcomes = np.frombuffer(path.read_bytes(), np.uint8), set()
    for seed in range(30):
        hurt = whole.copy()
        hurt[random.integers(len(hurt), size=(1, 20, 400)[seed % 3])] = random.integers(256)
        path.write_bytes(hurt.tobytes()[: len(hurt) if seed % 5 else int(random.integers(len(hurt)))])
        try:
            outcomes.add(read(path, seed=seed).frames_F3HW.shape)
        except UnusableVideo as error:
            outcomes.add(error.reason)
    assert {"broken", (4, 3, 64, 64)} <= outcomes


def test_a_tally_counts_each_video_once_and_names_the_first() -> None:
    tally = Tally()
    assert tally.report() == "no video was skipped"
    for name in ["a", "b", "c", "d", "a"]:
        tally.add(f"{name}.mp4", "broken")
    tally.add("e.mp4", "too short")
    assert (len(tally), tally.counts) == (5, {"broken": 4, "too short": 1})
    assert tally.report() == "5 skipped: 4 broken (a.mp4, b.mp4, c.mp4, 1 more); 1 too short (e.mp4)"


def folder(path: Path, **fields: Any) -> Videos:
    return Videos.model_validate({"source": "folder", "path": path, **fields})


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, good: Path) -> Path:
    """Five good videos, three of them captioned, and three bad ones."""
    path = tmp_path_factory.mktemp("library")
    for k in range(5):
        write(path / f"good{k}.mp4", 36 + 4 * k)
        if k < 3:
            (path / f"good{k}.txt").write_text(f"a red square moving {('left', 'right', 'up')[k]}")
    three_frames(path / "sub/short.mp4", good)
    text_file(path / "sub/text.mp4", good)
    tiny(path / "sub/tiny.mp4", good)
    return path


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "FILMS_PER_SHARD", 4)


def settings(batch_size: int) -> Distill:
    return Distill(steps=1, batch_size=batch_size, learning_rate=1e-3)


def shards(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def world(engine: Engine, library: Path, cache: Path, **fields: Any) -> Any:
    return video_world(engine.manifest.task, folder(library, **fields), engine.manifest.defaults, cache)


@pytest.fixture(scope="module")
def encoded(
    teacher_engine: Engine, library: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Tensor], list[str]]:
    cache, lines = tmp_path_factory.mktemp("encoded") / "cache", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "FILMS_PER_SHARD", 4)
        made = world(teacher_engine, library, cache).encode(teacher_engine.pipeline, 5, 3, lines.append)
    return cache, made, lines


def test_a_cache_holds_what_the_small_worlds_hold(
    encoded: tuple[Path, dict[str, Tensor], list[str]], teacher_engine: Engine
) -> None:
    made, channels = encoded[1], teacher_engine.pipeline.vae.config.latent_channels
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in made.items()}
    assert shapes.pop("latents_NFCHW") == ((5, 8, channels, 8, 8), torch.float16)
    assert shapes.pop("fps_N") == ((5,), torch.float32)
    assert made["fps_N"].unique().tolist() == [teacher_engine.manifest.defaults.fps]
    assert all(torch.isfinite(value).all() for value in made.values())
    if teacher_engine.manifest.task == "i2v":
        assert made["motion_bucket_id_N"].tolist() == [127] * 5
        assert shapes.pop("motion_bucket_id_N") == ((5,), torch.int64)
        assert shapes.pop("image_latents_NCHW") == ((5, channels, 8, 8), torch.float16)
        assert shapes.pop("image_embeds_ND") == ((5, 32), torch.float16)
    else:
        assert shapes.pop("tokens_NL") == ((5, 24), torch.int64)
        assert shapes.pop("features_NLD") == ((5, 24, 64), torch.float32)
        assert shapes.pop("weight_NFHW") == ((5, 8, 8, 8), torch.float16)
        assert (made["weight_NFHW"] == 1).all()
    assert shapes == {}


def test_skipped_videos_are_reported_with_counts(
    encoded: tuple[Path, dict[str, Tensor], list[str]], teacher_engine: Engine
) -> None:
    last = encoded[2][-1]
    if teacher_engine.manifest.task == "i2v":
        assert all(f"1 {reason} (sub/" in last for reason in ("broken", "too short", "too small"))
    else:
        assert last.startswith("videos: 5 skipped: 5 no caption (good3.mp4, good4.mp4, sub/short.mp4, 2 more)")


def test_a_batch_is_drawn_from_memory_and_from_disk_alike(
    encoded: tuple[Path, dict[str, Tensor], list[str]], teacher_engine: Engine, library: Path
) -> None:
    path, made, _ = encoded
    cache, source = ClipCache(path), world(teacher_engine, library, path)
    drawn = [
        source.draw(teacher_engine.pipeline, rows, settings(3), torch.Generator().manual_seed(0))
        for rows in (cache.as_dict(), cache.columns())
    ]
    assert torch.equal(drawn[0].target_BFCHW, drawn[1].target_BFCHW)
    rows = cache.as_dict()["latents_NFCHW"].float()
    assert all(any(torch.equal(target, row) for row in rows) for target in drawn[0].target_BFCHW)
    assert torch.equal(rows[:5], made["latents_NFCHW"].float())
    with torch.no_grad():
        clean = drawn[0].denoised(drawn[0].run(teacher_engine.pipeline.unet))
    assert clean.shape == drawn[0].target_BFCHW.shape
    if teacher_engine.manifest.task == "i2v":
        assert drawn[0].added_time_ids[:, 0].tolist() == [6.0] * 3


class Killed(BaseException):
    pass


def test_a_killed_encoding_continues_to_the_same_bytes(
    encoded: tuple[Path, dict[str, Tensor], list[str]], teacher_engine: Engine, library: Path, tmp_path: Path
) -> None:
    def kill(line: str) -> None:
        if line.startswith("encoded "):
            raise Killed

    cut = tmp_path / "cut"
    with pytest.raises(Killed):
        world(teacher_engine, library, cut).cache(teacher_engine.pipeline, 5, 3, kill)
    assert len(shards(cut)) == 2
    (cut / "shard-00001.partial").write_bytes(b"half a shard")
    again = world(teacher_engine, library, cut, readers=1).encode(teacher_engine.pipeline, 5, 3, lambda _: None)
    assert all(torch.equal(again[name], value) for name, value in encoded[1].items())
    assert shards(cut) == shards(encoded[0])


def test_a_cache_of_other_clips_is_refused_and_the_difference_named(
    encoded: tuple[Path, dict[str, Tensor], list[str]], teacher_engine: Engine, library: Path
) -> None:
    source = world(teacher_engine, library, encoded[0])
    with pytest.raises(CacheError, match=r"encoded otherwise: seed is 3 there and 4 here\. Give another folder"):
        source.cache(teacher_engine.pipeline, 5, 4, lambda _: None)
    other = world(teacher_engine, library, encoded[0], fps=6.0)
    with pytest.raises(CacheError, match=r"fps is .* there and 6\.0 here"):
        other.cache(teacher_engine.pipeline, 5, 3, lambda _: None)


def test_the_key_follows_the_encoders_and_not_the_decoder(teacher_folder: Path) -> None:
    engine = load_engine(teacher_folder, device="cpu", dtype="float32")
    pipeline = engine.pipeline
    is_image = engine.manifest.task == "i2v"
    encoder = ImageClipEncoder(pipeline, 127) if is_image else TextClipEncoder(pipeline)
    before = encoder.fingerprint()
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.weight.add_(1)
        assert encoder.fingerprint() == before
        pipeline.vae.encoder.conv_in.weight.view(-1)[0].add_(1e-3)
        changed = encoder.fingerprint()
        module = pipeline.image_encoder if is_image else pipeline.text_encoder
        next(module.parameters()).view(-1)[0].add_(1e-3)
    assert len({before, changed, encoder.fingerprint()}) == 3
    assert not is_image or ImageClipEncoder(pipeline, 126).fingerprint() != encoder.fingerprint()


def test_a_picture_is_embedded_as_the_small_world_embeds_it(good: Path) -> None:
    engine = load_engine(Path(__file__).parents[2] / "compression/teachers/small-i2v", device="cpu", dtype="float32")
    clip = read(good, FORM)
    row = ImageClipEncoder(engine.pipeline, 127).encode(clip.frames_F3HW, None, 8.0, torch.Generator().manual_seed(0))
    right = embed(engine.pipeline.image_encoder, clip.frames_F3HW[:1])
    assert torch.allclose(row["image_embeds_ND"].float(), right, atol=5e-3)


class BrightnessEncoder:
    """Keeps a clip's brightness: what the cache does is seen without any model."""

    def fingerprint(self) -> str:
        return "brightness"

    def encode(
        self, frames_F3HW: Tensor, caption: str | None, fps: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"mean_N": frames_F3HW.mean()[None], "noise_NF": torch.rand(1, 2, generator=generator)}


def bright(library: Path) -> Encoding:
    return Encoding(list_films(folder(library)), FORM, BrightnessEncoder(), seed=1, readers=2)


def test_few_films_give_many_clips_from_other_moments(library: Path, tmp_path: Path) -> None:
    cache = bright(library).into(tmp_path / "cache", 20, lambda _: None)
    made = cache.as_dict(20)
    assert len(made["mean_N"].unique()) > 10
    assert len(made["noise_NF"].unique(dim=0)) == 20
    assert cache.skipped().counts == {"broken": 1, "too short": 1, "too small": 1}


def test_a_cache_grows_without_changing_what_it_holds(library: Path, tmp_path: Path) -> None:
    small = bright(library).into(tmp_path / "cache", 4, lambda _: None).as_dict(4)
    grown = bright(library).into(tmp_path / "cache", 12, lambda _: None)
    assert len(grown) >= 12
    assert all(torch.equal(grown.as_dict(4)[name], value) for name, value in small.items())


def test_a_damaged_shard_is_made_again(library: Path, tmp_path: Path) -> None:
    bright(library).into(tmp_path / "cache", 8, lambda _: None)
    before, lines = shards(tmp_path / "cache"), []
    (tmp_path / "cache/shard-00001.safetensors").write_bytes(before["shard-00001.safetensors"][:100])
    bright(library).into(tmp_path / "cache", 8, lines.append)
    assert "shard 1 is damaged" in lines[1]
    assert shards(tmp_path / "cache") == before


def test_any_clips_can_be_read_in_any_order(library: Path, tmp_path: Path) -> None:
    cache = bright(library).into(tmp_path / "cache", 10, lambda _: None)
    index = torch.tensor([9, 0, 4, 4])
    assert all(torch.equal(cache.batch(index)[name], value[index]) for name, value in cache.as_dict().items())
    assert torch.equal(cache.columns()["noise_NF"][2:5], cache.as_dict()["noise_NF"][2:5])
    with pytest.raises(IndexError, match=r"clip \d+ is not in a cache of"):
        cache.batch(torch.tensor([len(cache)]))


def test_videos_that_all_fail_end_in_an_error_with_their_reasons(tmp_path: Path, good: Path) -> None:
    for k in range(6):
        text_file(tmp_path / f"{k}.mp4", good)
    with pytest.raises(CacheError, match=r"no clip came out of .* 6 broken \(.*, 3 more\)"):
        bright(tmp_path).into(tmp_path / "cache", 4, lambda _: None)


def test_no_captioned_video_is_an_error_that_says_so(library: Path, tmp_path: Path) -> None:
    listing = list_films(folder(library))
    bare = Listing(tuple(dataclasses.replace(f, caption=None) for f in listing.films)).captioned()
    with pytest.raises(ValueError, match="no film to learn from; 8 skipped: 8 no caption"):
        Encoding(bare, FORM, BrightnessEncoder(), 0, 1).into(tmp_path / "cache", 4, lambda _: None)


def test_other_films_make_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"v")
    first = fingerprint([film(path)])
    assert fingerprint([film(path)]) == first
    assert fingerprint([film(path, caption="x")]) != first
    path.write_bytes(b"longer")
    assert fingerprint([film(path)]) != first


def test_a_foreign_or_damaged_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.txt").write_text("mine")
    with pytest.raises(CacheError, match="holds something else than encoded clips"):
        ClipCache(tmp_path, {"seed": 0})
    with pytest.raises(CacheError, match=r"has no index\.json"):
        ClipCache(tmp_path / "none")
    for content in ("{", "[]", json.dumps({"version": 2, "key": "", "identity": {}, "clips": []})):
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(CacheError, match=r"index\.json is damaged"):
            ClipCache(tmp_path)


def test_shards_without_a_clip_are_kept_and_passed_over(tmp_path: Path) -> None:
    def make(number: int) -> Shard:
        clips = {"x_N": torch.arange(3) + 10 * number} if number % 2 else {}
        return Shard(clips, [(f"{number}.mp4", "broken")])

    cache = ClipCache(tmp_path / "cache", {"seed": 0})
    fill(cache, 5, make, patience=2, report=lambda _: None)
    assert cache.as_dict()["x_N"].tolist() == [10, 11, 12, 30, 31, 32]
    assert cache.batch(torch.tensor([3, 2]))["x_N"].tolist() == [30, 12]
    assert len(cache.skipped()) == 4
