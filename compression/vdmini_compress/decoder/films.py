"""What a decoder is healed and measured on: latents, what the original decoder shows of them, and the true clips.

Half of the latents are the encoder's, half are those that the artifact's own denoiser makes, which is what a decoder
really gets. Everything is computed once.

Legend: N clips, F frames, C latent channels, H height, W width of latents or pixels, 3 colour channels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from vdmini.engine import Engine
from vdmini_compress.evaluate import HELD_OUT_SEED, held_out_scenes, settings_of, to_picture
from vdmini_compress.teachers.autoencoder import decode, latent_modes, pixel_weight
from vdmini_compress.teachers.text_to_video import training_films
from vdmini_compress.training import generator_for
from vdmini_compress.world import captions, clips
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS, TRAIN_PHOTOS
from vdmini_compress.world.shapes import NUM_FRAMES, SIZE

Report = Callable[[str], None]
Conditions = dict[str, Any]
"""What a clip is generated from, as arguments of `Engine.generate`."""


@dataclass(frozen=True)
class Films:
    """Decoded clips.

    Args:
        latents_NFCHW: unscaled latents as a decoder takes them, float32.
        original_NF3HW: what the original decoder shows of them, uint8.
        true_NF3HW: the right answer, uint8.
        weight_NF1HW: how much each pixel counts, uint8.
        generated_N: whether a clip's latents are the denoiser's, bool.
    """

    latents_NFCHW: Tensor
    original_NF3HW: Tensor
    true_NF3HW: Tensor
    weight_NF1HW: Tensor
    generated_N: Tensor

    def __len__(self) -> int:
        return len(self.generated_N)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, contiguous, as safetensors stores them."""
        return {field.name: getattr(self, field.name).contiguous() for field in fields(self)}

    def some(self, index: Tensor | slice) -> "Films":
        """Some of the clips."""
        return Films(**{name: tensor[index] for name, tensor in self.tensors().items()})


def refuse_other_worlds(engine: Engine) -> None:
    """Raise `ValueError` when a model cannot make a clip of the small world."""
    limits, name = engine.manifest.limits, engine.manifest.name
    if (SIZE, SIZE) not in limits.sizes or not limits.min_num_frames <= NUM_FRAMES <= limits.max_num_frames:
        raise ValueError(
            f"{name} makes {limits.min_num_frames} to {limits.max_num_frames} frames of {limits.sizes}; without "
            f"videos a decoder is healed on the small world, which has {NUM_FRAMES} frames of {SIZE}x{SIZE}: give "
            "--videos DIR, or run a recipe with data.source videos and a decoder section"
        )


class FilmMaker(Protocol):
    """Where a decoder's clips come from."""

    @property
    def source(self) -> str:
        """What tells it from others: films that another one made are not taken for its own."""
        ...

    def refuse(self, engine: Engine) -> None:
        """Raise `ValueError`, before any work, when no clip can be filmed for a model."""
        ...

    def film(self, engine: Engine, count: int, seed: int, *, held_out: bool, say: Report) -> Films:
        """Film, encode or generate, and decode clips with the engine's own decoder.

        Args:
            engine: the artifact whose decoder is the original; float32.
            count: clips.
            seed: draws the clips; held-out ones never coincide with others.
            held_out: whether to film what no training sees.
            say: receives progress.

        Returns:
            The clips: the first half encoded, the rest generated.
        """
        ...


def to_bytes(pixels: Tensor) -> Tensor:
    """Pixels in -1..1 as uint8; what lies outside is cut."""
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte()


def to_pixels(values: Tensor) -> Tensor:
    """uint8 values as pixels in -1..1, float32."""
    return values.float() / 127.5 - 1


class SmallWorldFilms:
    """Films the small world; see `FilmMaker`."""

    source = "small-world"

    def refuse(self, engine: Engine) -> None:
        """See `refuse_other_worlds`."""
        refuse_other_worlds(engine)

    @torch.inference_mode()
    def film(self, engine: Engine, count: int, seed: int, *, held_out: bool, say: Report) -> Films:
        """See `FilmMaker`."""
        world = _image_world if engine.manifest.task == "i2v" else _text_world
        true, weight, conditions = world(engine, count, seed + HELD_OUT_SEED * held_out, held_out=held_out)
        generated = torch.arange(count) >= count - count // 2
        latents, original = [], []
        for n in range(count):
            made = generated_clip(engine, conditions[n]) if generated[n] else _encoded(engine, true[n])
            latents.append(made[0])
            original.append(made[1])
            if (n + 1) % 50 == 0:
                say(f"filming {n + 1}/{count} clips")
        return Films(torch.stack(latents), torch.stack(original), true, weight, generated)


def _encoded(engine: Engine, true_F3HW: Tensor) -> tuple[Tensor, Tensor]:
    vae = engine.pipeline.vae
    latents = latent_modes(vae, to_pixels(true_F3HW))
    return latents, to_bytes(decode(vae, latents[None].to(vae.device))[0].float().cpu())


def generated_clip(engine: Engine, conditions: Conditions) -> tuple[Tensor, Tensor]:
    """The denoiser's unscaled latents [F, C, H, W], float32, and what the engine's decoder shows of them, uint8."""
    with _decoded_latents(engine.pipeline.vae) as seen:
        frames = engine.generate(**settings_of(engine, **conditions)).frames
    return torch.cat(seen).float().cpu(), torch.from_numpy(frames).permute(0, 3, 1, 2)


@contextmanager
def _decoded_latents(vae: Any) -> Iterator[list[Tensor]]:
    """Collect what a pipeline gives its VAE to decode."""
    seen: list[Tensor] = []
    stock = vae.decode

    def watched(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(latents)
        return stock(latents, *args, **kwargs)

    vae.decode = watched
    try:
        yield seen
    finally:
        del vae.decode


World = tuple[Tensor, Tensor, Sequence[Conditions]]
"""True clips and pixel weights, uint8, and what each clip is generated from."""


def _image_world(_: Engine, count: int, seed: int, *, held_out: bool) -> World:
    photos = HELD_OUT_PHOTOS if held_out else TRAIN_PHOTOS
    generator = generator_for(seed, 0)
    batch = clips.image_clips(count - count // 4, count // 4, generator, photos=photos)
    order = torch.randperm(count, generator=generator)
    true, weight = batch.frames_BF3HW[order], pixel_weight(batch.frames_BF3HW, batch.background_B3HW)[order]
    conditions = [
        {"image": to_picture(clip[0]), "motion_bucket_id": int(bucket), "seed": seed + n}
        for n, (clip, bucket) in enumerate(zip(true, batch.motion_bucket_id_B[order], strict=True))
    ]
    return (true * 255).round().byte(), weight.byte(), conditions


def _text_world(engine: Engine, count: int, seed: int, *, held_out: bool) -> World:
    shots = _held_out_shots(engine, count, seed) if held_out else _training_shots(count, seed)
    scenes, fps = [scene for scene, _ in shots], [rate for _, rate in shots]
    batch = clips.text_clips(scenes, torch.tensor(fps).float())
    conditions = [{"prompt": scene.caption, "fps": rate, "seed": seed + n} for n, (scene, rate) in enumerate(shots)]
    weight = pixel_weight(batch.frames_BF3HW, batch.background_B3HW)
    return (batch.frames_BF3HW * 255).round().byte(), weight.byte(), conditions


def _held_out_shots(engine: Engine, count: int, seed: int) -> list[tuple[captions.Scene, int]]:
    return [(scene, engine.manifest.defaults.fps) for scene in held_out_scenes(count, seed)]


def _training_shots(count: int, seed: int) -> list[tuple[captions.Scene, int]]:
    shots = training_films()
    picked = torch.randperm(len(shots), generator=generator_for(seed, 0))[:count]
    return [shots[i] for i in picked]
