"""Time the full-size U-Nets on a GPU, teacher beside students, with random weights: shapes and speed, no pictures.

    python benchmarks/full_size.py --output benchmarks/results/NAME.json

Each round runs every plan once, in an order that turns; ratios are of the same round. The VAE's decoder is timed, too,
in chunks of frames, since after a single forward pass it is a large share of what is left.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder
from provenance import provenance

from vdmini.cost import unet_cost
from vdmini.families import FAMILY_NAMES, family_named
from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini_compress.latency import interval

PLANS = ("none", "paper", "all-pairs")
WARM_UP = 3
VAE_SCALE = 8


def build(unet_class: type[torch.nn.Module], config: Any, device: torch.device) -> Any:
    """A model with the weights its constructor draws, bfloat16, on a device, frozen."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            made = unet_class(**config)
    finally:
        torch.set_default_dtype(default)
    return made.to(device, torch.bfloat16).eval().requires_grad_(False)


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call, the device's work included."""
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Most memory allocated during one call, what was there before included."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def in_turn(runs: dict[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, dict[str, Any]]:
    """Seconds of each of several things, and how many times the first is as long as each."""
    for _ in range(WARM_UP):
        for run in runs.values():
            run()
    names = list(runs)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            samples[name].append(seconds_of(runs[name], device))
    found = {}
    for name, values in samples.items():
        ratios = [first / value for first, value in zip(samples[names[0]], values, strict=True)]
        found[name] = {
            "seconds": round(statistics.median(values), 5),
            "speedup": round(statistics.median(ratios), 3),
            "speedup_interval": interval(ratios),
        }
    return found


@torch.inference_mode()
def unets(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """The teacher's U-Net beside students that use its weights."""
    family = family_named(name)
    size = family.full_size.defaults
    latents = {"num_frames": size.num_frames, "height": size.height // VAE_SCALE, "width": size.width // VAE_SCALE}
    teacher = build(family.unet_class, family.full_size.unet, device)
    inputs = family.unet_inputs(teacher, *latents.values(), device)
    models = {plan: build_student(teacher, PruningPlan.preset(plan, teacher), share_weights=True) for plan in PLANS}
    runs = {plan: (lambda unet=unet: unet(**inputs).sample) for plan, unet in models.items()}
    found = in_turn(runs, rounds, device)
    for plan, unet in models.items():
        cost = unet_cost(unet, **latents)
        found[plan] |= {
            "parameters": cost.parameters,
            "flops": cost.flops,
            "tflops_per_second": round(cost.flops / found[plan]["seconds"] / 1e12, 1),
            "activation_peak_bytes": peak_bytes(runs[plan], device) - torch.cuda.memory_allocated(device),
        }
    return {"width": size.width, "height": size.height, "num_frames": size.num_frames, "unets": found}


@torch.inference_mode()
def decoder(name: str, rounds: int, device: torch.device, chunks: tuple[int, ...]) -> dict[str, Any]:
    """The VAE's decoder, so many frames at a time."""
    full, size = family_named(name).full_size, family_named(name).full_size.defaults
    vae = build(full.vae_class, full.vae, device)
    shape = (size.num_frames, vae.config.latent_channels, size.height // VAE_SCALE, size.width // VAE_SCALE)
    latents = torch.randn(shape, device=device, dtype=torch.bfloat16)
    temporal = full.vae_class is AutoencoderKLTemporalDecoder

    def decode(chunk: int) -> None:
        for part in latents.split(chunk):
            vae.decode(part, **({"num_frames": len(part)} if temporal else {}))

    runs = {str(chunk): (lambda chunk=chunk: decode(chunk)) for chunk in chunks}
    found = in_turn(runs, rounds, device)
    for chunk, run in runs.items():
        found[chunk]["activation_peak_bytes"] = peak_bytes(run, device) - torch.cuda.memory_allocated(device)
    return found


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no GPU was found, and full-size models take minutes a pass without one")
    device = torch.device("cuda:0")
    models = {}
    for name in FAMILY_NAMES:
        models[name] = unets(name, arguments.rounds, device)
        torch.cuda.empty_cache()
        models[name]["decoder_by_frames_at_once"] = decoder(name, 5, device, (14, 4, 1))
        torch.cuda.empty_cache()
        print(name, json.dumps(models[name]), flush=True)
    record = {"dtype": "bfloat16", "rounds": arguments.rounds, "warm_up": WARM_UP, "models": models}
    arguments.output.write_text(json.dumps(provenance(shlex.join(["python", *sys.argv])) | record, indent=2) + "\n")


if __name__ == "__main__":
    main()
