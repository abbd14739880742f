"""Train a discriminator alone to tell clips from their own first frames held still: bare features against `View`.

python benchmarks/discriminator.py compression/recipes/small-t2v.yaml --output benchmarks/results/NAME.json

The clips are the teacher's answers. The loss is a hinge's, 2 when nothing is told apart; it is measured on batches that
no step saw.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from provenance import provenance
from torch import Tensor

from vdmini.engine import load_engine
from vdmini_compress.data import WORLDS
from vdmini_compress.discriminator import Discriminator, View, encode
from vdmini_compress.losses import hinge_discriminator_loss
from vdmini_compress.recipe import load_recipe
from vdmini_compress.teachers.train import fast_attention
from vdmini_compress.training import generator_for

CPU = torch.device("cpu")
BATCHES, HELD_OUT = 50, 10
WARMUP = 20


@dataclass(frozen=True)
class Example:
    """One batch: what heads are told, and what they see of real clips and of still ones."""

    told: Any
    real: list[Tensor]
    still: list[Tensor]


def examples(recipe: Path, *, bare: bool) -> list[Example]:
    """Features of real clips and of still ones, noised alike."""
    settings = load_recipe(recipe, [])
    teacher = load_engine(settings.teacher, device="cpu", dtype="float32")
    world, unet, made = WORLDS[teacher.manifest.task], teacher.pipeline.unet, []
    cache = world.encode(teacher.pipeline, 256, 0, lambda _: None)
    view: View | None = None
    for index in range(BATCHES):
        generator = generator_for(1, index)
        batch = world.draw(teacher.pipeline, cache, settings.distill, generator)
        real = batch.denoised(batch.run(unet))
        *seen, blank = batch.renoised([real, real[:, :1].expand_as(real), torch.zeros_like(real)], generator)
        view = view or View.fitted(unet, [(seen[0], blank)])
        features = [encode(unet, clip) for clip in seen] if bare else view(seen, blank)
        made.append(Example(seen[0], *features))
    return made


def differences(found: Sequence[Example]) -> list[float]:
    """How far still clips' features are from the real ones', stage by stage, in standard deviations of the latter."""
    ratios = []
    for stage in range(len(found[0].real)):
        real = torch.cat([example.real[stage] for example in found])
        still = torch.cat([example.still[stage] for example in found])
        spread = (real - real.mean(dim=(0, 2, 3), keepdim=True)).std()
        ratios.append(round(float((still - real).std() / spread), 5))
    return ratios


def losses(found: Sequence[Example], *, steps: int, rate: float) -> dict[int, float]:
    """The hinge loss on the held-out batches after so many steps."""
    torch.manual_seed(0)
    channels = [stage.shape[1] for stage in found[0].real]
    heads = Discriminator(channels, found[0].told.condition_BD.shape[1])
    optimizer = torch.optim.AdamW(heads.parameters(), rate, betas=(0.9, 0.99))

    def loss(example: Example) -> Tensor:
        real, still = (heads(seen, example.told) for seen in (example.real, example.still))
        return hinge_discriminator_loss(real, still)

    curve = {}
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, step / WARMUP)
        optimizer.zero_grad()
        loss(found[step % (BATCHES - HELD_OUT)]).backward()
        optimizer.step()
        if step % 50 == 0:
            with torch.no_grad():
                told = [loss(example).item() for example in found[-HELD_OUT:]]
            curve[step] = round(sum(told) / len(told), 4)
    return curve


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    rows = []
    for name, bare in (("bare", True), ("view", False)):
        with torch.no_grad(), fast_attention(CPU):
            found = examples(arguments.recipe, bare=bare)
        curve = losses(found, steps=arguments.steps, rate=arguments.rate)
        rows.append({"features": name, "difference": differences(found), "loss": curve})
        print(rows[-1], flush=True)
    record = {"recipe": arguments.recipe.name, "rate": arguments.rate, "held_out": HELD_OUT, "rows": rows}
    command = shlex.join(["python", *sys.argv])
    arguments.output.write_text(json.dumps(provenance(command) | record, indent=2) + "\n")


if __name__ == "__main__":
    main()
