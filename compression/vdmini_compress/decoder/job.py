"""Compresses the decoder of one artifact: film, prune, heal, measure; every stage keeps its result in a work folder."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from vdmini.artifact import verify
from vdmini.chunks import frames_at_once
from vdmini.decoder_channels import widths_of
from vdmini.engine import Engine
from vdmini.small_decoder import SMALL_VAE_CLASSES, empty_small_vae
from vdmini_compress.decoder import choose, heal
from vdmini_compress.decoder.films import FilmMaker, Films, SmallWorldFilms
from vdmini_compress.decoder.measure import DecoderMeasures, measure
from vdmini_compress.decoder.perceptual import Features, features_of
from vdmini_compress.decoder.prune import without_channels, without_layers
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.pruning import latent_size

Report = Callable[[str], None]

CHANGES = ("removed_decoder_layers", "decoder_widths")
"""What a small VAE's configuration adds to a stock one's."""

JUDGED = 2
"""Clips on which layers and channels are judged: one encoded, one generated."""

MULTIPLES = {"cpu": 16, "cuda": 32}
"""Widths that are fast on a device: odd ones can take longer than unpruned ones."""

SEARCH_RUNS = 8
"""Timed pairs of each candidate of the search; the final measurement takes more."""


MEASURES = "decoder.json"
"""Where an artifact keeps what was measured on its decoder."""


class DecoderJob:
    """One compression of a decoder.

    Args:
        engine: the artifact, teacher or student, in float32; it is left as it is.
        settings: what to do.
        work: folder of the stages' results; one that other settings or another artifact left is emptied.
        seed: of all randomness.
        say: receives progress, one line at a time.
        maker: films the clips; the small world's by default.
    """

    def __init__(
        self,
        engine: Engine,
        settings: DecoderSettings,
        work: Path,
        *,
        seed: int,
        say: Report,
        maker: FilmMaker | None = None,
    ) -> None:
        self.engine, self.settings, self.work, self.seed, self.say = engine, settings, work, seed, say
        self.maker = maker or SmallWorldFilms()

    def run(self) -> tuple[Any, DecoderMeasures]:
        """Do all stages.

        Returns:
            The VAE with the compressed decoder, its weights as float16 stores them but in float32, and what was
            measured.

        Raises:
            ValueError: when the decoder cannot be compressed, or not as the settings say.
        """
        vae, wanted = self.engine.pipeline.vae, self.settings
        refuse_foreign_vae(vae)
        self.maker.refuse(self.engine)
        if wanted.taken_from is None:
            features = features_of(vae, wanted.perceptual)
            self._prepare()
            small, seconds = self._healed(features)
        else:
            self._prepare()
            small, seconds = taken(wanted.taken_from, vae)
        held_out = self._films("held-out", wanted.held_out, held_out=True)
        return small, self._measures(small, held_out, seconds)

    def _healed(self, features: Features) -> tuple[Any, float]:
        """The VAE with a pruned and healed decoder, and the seconds of healing."""
        films = self._films("films", self.settings.clips, held_out=False)
        small = self._pruned(films)
        healing = heal.Healing(small, films, features, self.settings, self.seed)
        seconds = heal.heal(healing, self.work / "heal", seed=self.seed, report=lambda line: self.say(f"heal: {line}"))
        return as_stored(small), seconds

    def _prepare(self) -> None:
        """Open the work folder."""
        digest = hashlib.sha256(f"{self.settings.model_dump_json()} {self.seed} {self.maker.source} ".encode())
        digest.update(self.engine.manifest.model_dump_json().encode())
        mark = self.work / "decoder.sha256"
        if mark.exists() and mark.read_text() == digest.hexdigest():
            self.say(f"resuming from {self.work}")
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        mark.write_text(digest.hexdigest())

    def _films(self, name: str, count: int, *, held_out: bool) -> Films:
        path = self.work / f"{name}.safetensors"
        if not path.exists():
            made = self.maker.film(self.engine, count, self.seed, held_out=held_out, say=self.say)
            partial = path.with_suffix(".partial")
            save_file(made.tensors(), partial)
            os.replace(partial, path)
        return Films(**load_file(path))

    def _pruned(self, films: Films) -> Any:
        """The pruned VAE; it is kept, since another measurement might choose other widths."""
        path, stock = self.work / "pruned.safetensors", self.engine.pipeline.vae
        if not path.exists():
            made = self._prune(films)
            partial = path.with_suffix(".partial")
            save_file(made.state_dict(), partial, {key: json.dumps(made.config[key]) for key in CHANGES})
            os.replace(partial, path)
        with safe_open(path, "pt") as file:
            layers, widths = (json.loads(file.metadata()[key]) for key in CHANGES)
        small = empty_small_vae(stock, layers, widths)
        small.load_state_dict(load_file(path), assign=True)
        return small.to(stock.device).eval()

    def _prune(self, films: Films) -> Any:
        vae, wanted = self.engine.pipeline.vae, self.settings
        picked = torch.linspace(0, len(films) - 1, JUDGED).long()
        latents = films.latents_NFCHW[picked].to(vae.device)
        layers = self._layers(latents) if wanted.layers is None else wanted.layers
        self.say(f"layers out: {', '.join(layers) or 'none'}")
        cuts = self._cuts(without_layers(vae, layers), latents)
        removed = choose.choose_channels(
            vae,
            layers,
            cuts,
            chunk_of(self.engine),
            wanted.latency,
            runs=wanted.runs,
            say=lambda line: self.say(f"prune: {line}"),
        )
        small = without_channels(vae, layers, removed)
        self.say(f"widths: {', '.join(f'{space} {width}' for space, width in widths_of(small.decoder).items())}")
        return small

    def _layers(self, latents: torch.Tensor) -> tuple[str, ...]:
        vae = self.engine.pipeline.vae
        work = choose.Work.of(vae, latents)
        layers, channels = choose.layer_cuts(vae, latents, work), self._cuts(vae, latents)
        return choose.choose_layers(vae, latents, layers, channels, self.settings.latency)

    def _cuts(self, vae: Any, latents: torch.Tensor) -> list[choose.Cut]:
        work, generator = choose.Work.of(vae, latents), torch.Generator().manual_seed(self.seed)
        multiple = self.settings.multiple or MULTIPLES.get(vae.device.type, MULTIPLES["cpu"])
        return choose.channel_cuts(vae, latents, work, multiple, generator)

    def _measures(self, small: Any, held_out: Films, seconds: float) -> DecoderMeasures:
        path = self.work / "measures.json"
        if not path.exists():
            made = measure(
                self.engine, small, held_out, chunk_of(self.engine), runs=self.settings.runs, heal_seconds=seconds
            )
            partial = path.with_suffix(".partial")
            partial.write_text(made.model_dump_json())
            os.replace(partial, path)
        return DecoderMeasures.model_validate_json(path.read_text())


def chunk_of(engine: Engine) -> torch.Tensor:
    """Random latents [1, F, C, H, W] to time on: of the model's own size, as many frames as are decoded at once."""
    size, defaults = latent_size(engine), engine.manifest.defaults
    frames = min(size["num_frames"], frames_at_once(defaults.width, defaults.height))
    channels = int(engine.pipeline.vae.config.latent_channels)
    shape = (1, frames, channels, size["height"], size["width"])
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(engine.torch_device)


def taken(folder: Path, stock: Any) -> tuple[Any, float]:
    """The VAE of an artifact whose decoder was compressed for the same VAE, and the seconds that healing it took.

    Raises:
        vdmini.artifact.ArtifactError: when a file is missing or damaged.
        ValueError: when its decoder isn't compressed, or its latents are another VAE's.
    """
    verify(folder)
    small_class = SMALL_VAE_CLASSES[type(stock)]
    named = json.loads((folder / "vae" / "config.json").read_text())["_class_name"]
    if named != small_class.__name__:
        raise ValueError(f"{folder} has the decoder of {named}; give an artifact with a {small_class.__name__}")
    small: Any = small_class.from_pretrained(folder / "vae", local_files_only=True)  # type: ignore[attr-defined]
    small = as_stored(small).to(stock.device).eval().requires_grad_(False)
    own = as_stored(copy.deepcopy(stock)).state_dict()
    if any(not torch.equal(value, own[name]) for name, value in small.state_dict().items() if not _decodes(name)):
        raise ValueError(f"the VAE of {folder} has another encoder; give an artifact that was made from this teacher")
    return small, DecoderMeasures.model_validate_json((folder / MEASURES).read_text()).heal_seconds


def _decodes(name: str) -> bool:
    return name.startswith(("decoder.", "post_quant_conv."))


def refuse_foreign_vae(vae: Any) -> None:
    """Raise `ValueError` when a VAE's decoder isn't stock."""
    if type(vae) in SMALL_VAE_CLASSES.values():
        raise ValueError("this artifact's decoder is compressed already; give the artifact that it was made from")
    if type(vae) not in SMALL_VAE_CLASSES:
        known = ", ".join(c.__name__ for c in SMALL_VAE_CLASSES)
        raise ValueError(f"this artifact's VAE is of class {type(vae).__name__}; known are {known}")


def as_stored(vae: nn.Module) -> Any:
    """The VAE with its weights rounded to what an artifact stores, in float32."""
    return nn.Module.to(nn.Module.to(vae, dtype=torch.float16), dtype=torch.float32)
