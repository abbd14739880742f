"""What a decoder is healed and measured on where there are real videos: windows of them, and of generated clips.

At full size the gradients of one whole clip's decoding fit no GPU, so a training clip is a window of a few frames and a
part of the picture. Held-out clips are whole pictures, as many frames as are decoded at a time.

Legend: F frames, C latent channels, H height, W width of latents or pixels, 3 colour channels.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vdmini.chunks import frames_at_once
from vdmini.engine import Engine
from vdmini_compress.decoder.films import Films, Report, generated_clip, to_bytes
from vdmini_compress.evaluate import to_picture
from vdmini_compress.teachers.autoencoder import decode, latent_modes
from vdmini_compress.training import generator_for
from vdmini_compress.videos.films import Film, Listing
from vdmini_compress.videos.reading import read_clip
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.videos.skips import Tally, UnusableVideo
from vdmini_compress.videos.world import VideoWorld

LAPS = 100
"""How often all films are gone through, each time from other moments, before more clips are called too many."""


@dataclass(frozen=True)
class Window:
    """A part of a clip: frames from `start` on, and in latents the top left corner and the size."""

    start: int
    frames: int
    top: int
    left: int
    height: int
    width: int

    def latents(self, clip_FCHW: Tensor) -> Tensor:
        """The window of whole pictures' latents [frames, C, height, width]."""
        return clip_FCHW[:, :, self.top : self.top + self.height, self.left : self.left + self.width]

    def pixels(self, clip_F3HW: Tensor, scale: int) -> Tensor:
        """The window of whole pictures of `scale` pixels per latent."""
        rows = slice(scale * self.top, scale * (self.top + self.height))
        return clip_F3HW[:, :, rows, scale * self.left : scale * (self.left + self.width)]


@dataclass(frozen=True)
class VideoFilms:
    """Films clips of real videos; see `vdmini_compress.decoder.films.FilmMaker`.

    Args:
        world: the videos; those that it holds out are filmed for held-out clips.
        window: height and width of a training clip in latents; None takes whole pictures.
        frames: of a training clip; None takes as many as are decoded at a time.
    """

    world: VideoWorld
    window: int | None
    frames: int | None

    @property
    def source(self) -> str:
        """The videos, as a recipe names them."""
        return self.world.videos.model_dump_json()

    def refuse(self, engine: Engine) -> None:
        """Raise `ValueError` when there is nothing to film, or a window is larger than the model's pictures."""
        self.world.held_out()
        form = _form(self.world, engine)
        latents = min(form.width, form.height) // _scale(engine)
        if self.window is not None and self.window > latents:
            raise ValueError(f"decoder.window {self.window} is more than the {latents} latents of a picture's side")

    @torch.inference_mode()
    def film(self, engine: Engine, count: int, seed: int, *, held_out: bool, say: Report) -> Films:
        """See `FilmMaker`. A generated clip has no true one: what the original decoder shows counts for it."""
        listing = self.world.held_out() if held_out else self.world.listing()
        clips = _clips(listing, _form(self.world, engine), seed)
        parts: list[dict[str, Tensor]] = []
        for n, (film, clip_F3HW, generator) in enumerate(itertools.islice(clips, count)):
            window = self._window(engine, clip_F3HW, generator, whole=held_out)
            generated = n >= count - count // 2
            condition = _condition(engine, film, clip_F3HW, seed + n) if generated else None
            parts.append(_part(engine, clip_F3HW, window, condition))
            if (n + 1) % 50 == 0:
                say(f"filming {n + 1}/{count} clips")
        return Films(**{name: torch.stack([part[name] for part in parts]) for name in parts[0]})

    def _window(self, engine: Engine, clip_F3HW: Tensor, generator: torch.Generator, *, whole: bool) -> Window:
        frames, scale = len(clip_F3HW), _scale(engine)
        height, width = (side // scale for side in clip_F3HW.shape[-2:])
        chunk = min(frames, frames_at_once(scale * width, scale * height))
        some = chunk if whole or self.frames is None else min(self.frames, frames)
        rows, columns = (height, width) if whole or self.window is None else (self.window, self.window)
        start, top, left = (
            int(torch.randint(room + 1, (), generator=generator))
            for room in (frames - some, height - rows, width - columns)
        )
        return Window(start, some, top, left, rows, columns)


def _part(engine: Engine, clip_F3HW: Tensor, window: Window, condition: dict[str, Any] | None) -> dict[str, Tensor]:
    """One window as `Films` has it, encoded or, with a condition, generated."""
    vae, frames = engine.pipeline.vae, slice(window.start, window.start + window.frames)
    true = clip_F3HW[frames]
    latents = latent_modes(vae, true * 2 - 1) if condition is None else generated_clip(engine, condition)[0][frames]
    seen = window.latents(latents)
    original = to_bytes(decode(vae, seen[None].to(vae.device))[0].float().cpu())
    shown = original if condition else (window.pixels(true, _scale(engine)) * 255).round().byte()
    return {
        "latents_NFCHW": seen,
        "original_NF3HW": original,
        "true_NF3HW": shown,
        "weight_NF1HW": torch.ones_like(original[:, :1]),
        "generated_N": torch.tensor(condition is not None),
    }


def _clips(listing: Listing, form: ClipForm, seed: int) -> Iterator[tuple[Film, Tensor, torch.Generator]]:
    """Films that can be used, with a clip of each, lap after lap; a function of `seed` alone."""
    films, skipped, place = listing.films, Tally(), 0
    for lap in range(LAPS):
        usable = False
        for index in torch.randperm(len(films), generator=generator_for(seed, -1 - lap)).tolist():
            generator, place = generator_for(seed, place), place + 1
            try:
                frames_F3HW = read_clip(films[index], form, generator).frames_F3HW
            except UnusableVideo as why:
                skipped.add(films[index].name, why.reason)
                continue
            usable = True
            yield films[index], frames_F3HW, generator
        if not usable:
            raise ValueError(f"no clip for the decoder came out of {len(films)} films: {skipped.report()}")
    raise ValueError(f"decoder.clips or decoder.held_out asks for more than {LAPS} clips of each film; give more films")


def _condition(engine: Engine, film: Film, clip_F3HW: Tensor, seed: int) -> dict[str, Any]:
    given = {"image": to_picture(clip_F3HW[0])} if engine.manifest.task == "i2v" else {"prompt": film.caption}
    return given | {"seed": seed}


def _form(world: VideoWorld, engine: Engine) -> ClipForm:
    """The model's own clips: they are what its decoder will be given, whatever size it was trained at."""
    wanted = {"width": None, "height": None, "num_frames": None}
    return ClipForm.of(world.videos.model_copy(update=wanted), engine.manifest.defaults)


def _scale(engine: Engine) -> int:
    """Pixels per latent."""
    return int(2 ** (len(engine.pipeline.vae.config.block_out_channels) - 1))
