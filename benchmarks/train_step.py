"""Train random weights by a recipe for a few steps: peak memory and seconds a step, beside what `plan` estimates.

    python benchmarks/train_step.py compression/recipes/svd-i2v.yaml --output benchmarks/results/NAME.json

On a GPU that is the full-size model. `--width 64` makes one with 64 channels in its first stage in place of 320, and
`--frames`, `--size` smaller clips, so that a CPU runs it. A step of the recipe's many batches is cut to `--batches`,
whose seconds are scaled; at least two, so that gradients are added up as in the recipe.
"""

import argparse
import json
import resource
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import torch
from diffusers import LCMScheduler
from provenance import provenance
from torch import Tensor

from vdmini.cost import empty_vae
from vdmini.families import family_named
from vdmini.families.base import Family, FullSize
from vdmini.families.unet3d import TEXT_TOKENS
from vdmini.plan import PruningPlan
from vdmini.student import build_student, empty_student, empty_unet
from vdmini_compress.data import WORLDS
from vdmini_compress.decoder.films import Films, to_bytes
from vdmini_compress.decoder.heal import Healing
from vdmini_compress.decoder.heal import heal as heal_decoder
from vdmini_compress.decoder.perceptual import features_of
from vdmini_compress.decoder.prune import without_layers
from vdmini_compress.distill import Distillation, heal
from vdmini_compress.dry_run import Size
from vdmini_compress.estimate import Estimate, Model, estimate
from vdmini_compress.precision import trains_in_bfloat16
from vdmini_compress.recipe import Recipe, load_recipe
from vdmini_compress.teachers.autoencoder import decode

CLIPS = 4
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "original_inference_steps": 200}
SCALE = 8


@dataclass(frozen=True)
class Subject:
    """What is trained: a family's configuration, its clips and a recipe cut to a few of its batches."""

    family: Family
    full: FullSize
    size: Size
    recipe: Recipe
    batches: int

    @staticmethod
    def of(path: Path, arguments: Any) -> "Subject":
        """What the command line asks for."""
        recipe = load_recipe(path)
        family, videos = family_named(str(recipe.family)), recipe.data.videos
        full, own = family.full_size, family.full_size.defaults
        width, height = arguments.size or (videos.width or own.width, videos.height or own.height)
        frames = arguments.frames or videos.num_frames or own.num_frames
        size = Size(frames, 4, height // SCALE, width // SCALE)
        changes = {"steps": arguments.steps, "shards": min(arguments.batches, recipe.distill.shards), "watch_every": 0}
        distill = recipe.distill.model_copy(update=changes | arguments.distill)
        if arguments.width:
            full = narrowed(full, arguments.width)
        cut = recipe.model_copy(update={"distill": distill})
        return Subject(family, full, size, cut, recipe.distill.shards)

    @property
    def plan(self) -> PruningPlan:
        """What is removed."""
        return PruningPlan.preset(str(self.recipe.plan), empty_unet(self.family.unet_class, self.full.unet))


def narrowed(full: FullSize, width: int) -> FullSize:
    """The same network with so many channels in its first stage, and a VAE of 32 to 128 channels."""
    unet = dict(full.unet) | {"block_out_channels": (width, 2 * width, 4 * width, 4 * width)}
    if "num_attention_heads" in unet:
        unet["num_attention_heads"] = tuple(max(1, channels // 64) for channels in unet["block_out_channels"])
    vae = dict(full.vae) | {"block_out_channels": (32, 64, 128, 128)}
    return replace(full, unet=unet, vae=vae, encoder_parameters=0)


def estimated(subject: Subject, device: torch.device) -> Estimate:
    """What `vdmini-compress plan` would say of it."""
    teacher = empty_unet(subject.family.unet_class, subject.full.unet)
    student = empty_student(type(teacher), teacher.config, subject.plan)
    vae = empty_vae(subject.full.vae_class, subject.full.vae)
    model = Model(
        subject.family.name, teacher, student, vae, subject.full.encoder_parameters, subject.size, decoded_size(subject)
    )
    arithmetic = "bfloat16" if trains_in_bfloat16(device) else "float32"
    return estimate(subject.recipe, model, arithmetic=arithmetic)


def decoded_size(subject: Subject) -> Size | None:
    """A window of the decoder's."""
    wanted = subject.recipe.decoder
    if wanted is None:
        return None
    side = min(wanted.window or 10**6, subject.size.height, subject.size.width)
    return Size(min(wanted.frames or 10**6, subject.size.num_frames), 4, side, side)


def cache_of(task: str, unet: Any, size: Size) -> dict[str, Tensor]:
    """Random clips and conditions, as `vdmini_compress.videos.encoders` would encode them."""
    latents = torch.randn(CLIPS, size.num_frames, size.channels, size.height, size.width).half()
    width = unet.config["cross_attention_dim"]
    made = {"latents_NFCHW": latents, "fps_N": torch.full((CLIPS,), 7.0)}
    if task == "i2v":
        conditions = {"image_latents_NCHW": latents[:, 0], "image_embeds_ND": torch.randn(CLIPS, width).half()}
        return made | conditions | {"motion_bucket_id_N": torch.full((CLIPS,), 127)}
    weight = torch.ones_like(latents[:, :, 0])
    conditions = {"features_NLD": torch.randn(CLIPS, TEXT_TOKENS, width), "weight_NFHW": weight}
    return made | conditions | {"tokens_NL": torch.zeros(CLIPS, TEXT_TOKENS, dtype=torch.int64)}


def built(model_class: type[torch.nn.Module], config: Any, device: torch.device) -> Any:
    """A model with the weights its constructor draws, float32, frozen."""
    with device:
        made = model_class(**config)
    return made.to(device).eval().requires_grad_(False)


class Meter:
    """Peak memory beyond what there was, and the wall time of each step."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.times = device, [time.perf_counter()]
        self.before = 0 if device.type == "cuda" else psutil.Process().memory_info().rss

    def note(self, line: str) -> None:
        """A step is done when the training says so."""
        print(line, flush=True)
        if "step " in line:
            self.times.append(time.perf_counter())

    def peak_bytes(self) -> int:
        """Of the device, or of this process since it began."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self.before

    def seconds(self) -> list[float]:
        """Of each step."""
        return [round(later - earlier, 3) for earlier, later in zip(self.times, self.times[1:], strict=False)]


def train(subject: Subject, device: torch.device, folder: Path) -> dict[str, Any]:
    """Heal a student of random weights for a few steps, as `vdmini-compress run` does."""
    full, settings, meter = subject.full, subject.recipe.distill, Meter(device)
    family = subject.family
    teacher = built(family.unet_class, full.unet, device)
    kept = [built(full.vae_class, full.vae, device), torch.zeros(full.encoder_parameters, device=device)]
    encoder = built(family.unet_class, full.unet, device) if settings.encoder else None
    scheduler = LCMScheduler(**SCHEDULE)
    pipeline = SimpleNamespace(unet=teacher, scheduler=scheduler, device=device)
    student = build_student(teacher, subject.plan)
    cache, weight = cache_of(family.task, teacher, subject.size), torch.ones(4)
    made = Distillation(family, pipeline, student, WORLDS[family.task], cache, weight, settings, encoder=encoder)
    meter.times = [time.perf_counter()]
    heal(made, folder, seed=0, report=meter.note)
    checkpoint = (folder / "checkpoint.pt").stat().st_size
    found = {"peak_bytes": meter.peak_bytes(), "step_seconds": meter.seconds(), "checkpoint_bytes": checkpoint}
    if device.type == "cuda":
        found["reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    del kept
    return found


def train_decoder(subject: Subject, device: torch.device, folder: Path) -> dict[str, Any] | None:
    """Heal the stock decoder for a few steps on random windows."""
    size, wanted = decoded_size(subject), subject.recipe.decoder
    if size is None or wanted is None:
        return None
    vae, meter = built(subject.full.vae_class, subject.full.vae, device), Meter(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    latents = torch.randn(2, size.num_frames, size.channels, size.height, size.width)
    with torch.no_grad():
        original = to_bytes(decode(vae, latents.to(device)).float().cpu())
    films = Films(latents, original, original, torch.ones_like(original[:, :, :1]), torch.tensor([False, True]))
    settings = wanted.model_copy(update={"steps": 3, "adversarial_after": 0.0, "perceptual": None})
    healing = Healing(without_layers(vae, ()), films, features_of(vae, None), settings, seed=0)
    heal_decoder(healing, folder, seed=0, report=meter.note)
    return {"peak_bytes": meter.peak_bytes(), "step_seconds": meter.seconds()}


def measure(subject: Subject, device: torch.device, *, with_decoder: bool = True) -> dict[str, Any]:
    """Everything about one recipe, as plain data."""
    if device.type == "cuda":
        torch.cuda.init()  # statistics of a device that wasn't used yet can't be reset
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory() as folder:
        step = train(subject, device, Path(folder) / "step")
        if device.type == "cuda":
            torch.cuda.empty_cache()
        decoder = train_decoder(subject, device, Path(folder) / "decoder") if with_decoder else None
    expected = estimated(subject, device)
    usual = sorted(step["step_seconds"])[len(step["step_seconds"]) // 2]
    batches = subject.recipe.distill.shards
    return {
        "recipe": subject.recipe.name,
        "size": vars(subject.size),
        "batches_per_step": batches,
        "gradient_checkpointing": subject.recipe.distill.gradient_checkpointing,
        "step": step | {"seconds_of_the_recipes_step": round(usual / batches * subject.batches, 2)},
        "decoder": decoder,
        "estimate": expected.as_dict(),
        "measured_over_estimated_memory": round(step["peak_bytes"] / expected.memory_bytes, 3),
        "achieved_tflops": round(expected.step_flops / usual / 1e12, 3),
    }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batches", type=int, default=2, help="batches of a step, at most the recipe's")
    parser.add_argument("--width", type=int, help="channels of the first stage, a multiple of 64; the full size's else")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), metavar="WIDTHxHEIGHT")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--distill", type=json.loads, default={}, metavar="JSON", help="instead of the recipe's")
    parser.add_argument("--no-decoder", action="store_true")
    parser.add_argument("--output", type=Path, metavar="FILE")
    return parser.parse_args(argv)


def main() -> None:
    """Measure and write the record."""
    arguments = parse()
    device = torch.device(arguments.device)
    rows = []
    for path in arguments.recipe:
        rows.append(measure(Subject.of(path, arguments), device, with_decoder=not arguments.no_decoder))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.output:
        record = provenance(shlex.join(["python", *sys.argv])) | {"recipes": rows}
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
