"""Time whole clips of the full-size models on a GPU, from input to frames: plain diffusers, our engine, and students.

    python benchmarks/full_size_clips.py svd --output benchmarks/results/NAME.json

Weights are random, so there is nothing to see: shapes and speed alone. Students have the paper's plan; "vdmini" has a
small decoder besides, the paper's layers out of it and all its channels cut alike until it takes `--decoder-latency` of
the time. `--width 64 --size 64 64 --frames 2 --device cpu` makes everything narrow, so that a CPU runs it, in float32.
"""

import argparse
import copy
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, StableVideoDiffusionPipeline
from full_size import build
from provenance import provenance
from train_step import narrowed
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from vdmini.decoder_channels import group_sizes, widths_of
from vdmini.engine import Engine, pick_device, pick_dtype, quiet_libraries
from vdmini.families import family_named
from vdmini.families.base import Family, FullSize
from vdmini.manifest import Cost, Manifest, TeacherId
from vdmini.plan import PruningPlan
from vdmini.runtime import tune
from vdmini.small_decoder import empty_small_vae, removable_layers
from vdmini.student import build_student
from vdmini.switches import RuntimeSettings, settings_for
from vdmini.text_to_video import VDMiniTextToVideoPipeline
from vdmini_compress.bench.contenders import STOCK, STUDENT, STUDENT_UNET, TEACHER, tuned
from vdmini_compress.bench.matmul import matmul_rate
from vdmini_compress.bench.measure import measure
from vdmini_compress.bench.scaling import points
from vdmini_compress.decoder.timing import share
from vdmini_compress.material import sample_input
from vdmini_compress.pruning import student_engine, with_vae
from vdmini_compress.teachers.image_to_video import build_scheduler
from vdmini_compress.teachers.words import build_tokenizer

GROUPS = 32
"""Channels stay multiples of it: odd widths can take longer than unpruned ones (arXiv 2411.18375)."""

SVD_ENCODER = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
    "patch_size": 14, "projection_dim": 1024, "hidden_act": "gelu",
}  # fmt: skip
TEXT_ENCODER = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
    "hidden_act": "gelu",
}  # fmt: skip


def pipeline_of(family: Family, full: FullSize, device: torch.device, *, narrow: bool) -> Any:
    """A whole pipeline of random weights; the image or text encoder is small where everything is narrow."""
    unet, vae = build(family.unet_class, full.unet, device), build(full.vae_class, full.vae, device)
    if family.name == "svd":
        config = CLIPVisionConfig(**SVD_ENCODER | ({"num_hidden_layers": 1} if narrow else {}))
        eye = build(CLIPVisionModelWithProjection, {"config": config}, device)
        scheduler: EulerDiscreteScheduler = build_scheduler()
        made: Any = StableVideoDiffusionPipeline(vae, eye, unet, scheduler, CLIPImageProcessor())
    else:
        tokenizer = build_tokenizer()
        tokenizer.model_max_length = 77
        layers = {"num_hidden_layers": 1} if narrow else {}
        config = CLIPTextConfig(**TEXT_ENCODER | layers)
        text = build(CLIPTextModel, {"config": config}, device)
        schedule = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        schedule.register_to_config(original_inference_steps=200)
        made = VDMiniTextToVideoPipeline(vae, text, tokenizer, unet, schedule)
    made.set_progress_bar_config(disable=True)
    return made.to(pick_dtype(None, device))


def engine_of(family: Family, full: FullSize, device: torch.device, *, narrow: bool) -> Engine:
    """An engine of random weights."""
    manifest = Manifest(
        name=f"{family.name}-random",
        variant="teacher",
        family=family.name,
        task=family.task,
        teacher=TeacherId(id="random weights", sha256="0" * 64, licence="none"),
        limits=full.limits,
        defaults=full.defaults,
        cost=Cost(unet_parameters=0, unet_flops=0, vae_decoder_parameters=0, total_bytes=0),
    )
    pipeline = pipeline_of(family, full, device, narrow=narrow)
    return Engine(manifest, family, pipeline, device=device, dtype=pick_dtype(None, device))


def copied(engine: Engine) -> Engine:
    """Another engine with the same weights, in memory of its own, so that it can be tuned."""
    unet = copy.deepcopy(engine.pipeline.unet)
    return with_vae(
        student_engine(engine, unet, PruningPlan.of(()), engine.manifest.variant), copy.deepcopy(engine.pipeline.vae)
    )


def small_vae(vae: Any, latents_BFCHW: torch.Tensor, target: float, runtime: RuntimeSettings) -> Any:
    """A VAE whose decoder takes `target` of the time: the paper's layers out, all channels cut alike.

    Times are our runtime's: it makes some layers faster than others.
    """
    whole = in_runtime(vae, runtime)
    gone = [name for name in removable_layers(vae.decoder) if name.startswith(("mid_block.", "up_blocks.3."))][1:]
    best = None
    for eighths in range(7, 0, -1):
        widths = {space: _cut(width, eighths, vae) for space, width in widths_of(_without(vae, gone).decoder).items()}
        best = _drawn(empty_small_vae(vae, gone, widths), vae)
        found = share(whole, in_runtime(best, runtime), latents_BFCHW, runs=3)
        print(f"{eighths}/8 of the channels take {100 * found:.1f} % of the decode time", flush=True)
        if found <= target:
            break
    return best


def in_runtime(vae: Any, runtime: RuntimeSettings) -> Any:
    """A tuned copy, not compiled."""
    made = SimpleNamespace(unet=torch.nn.Identity(), vae=copy.deepcopy(vae))
    tune(made, runtime.model_copy(update={"compile": "none", "cuda_graphs": False, "fused_projections": False}))
    return made.vae


def _cut(width: int, eighths: int, vae: Any) -> int:
    size = max(group_sizes(vae.decoder).values())
    step = max(GROUPS, size) if width > GROUPS else size
    return max(min(step, width), step * round(width * eighths / 8 / step))


def _without(vae: Any, gone: list[str]) -> Any:
    return empty_small_vae(vae, gone)


def _drawn(vae: Any, like: Any) -> Any:
    made = vae.to_empty(device=like.device).to(like.dtype)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    return made.eval().requires_grad_(False)


def engines(
    family: Family, full: FullSize, device: torch.device, runtime: RuntimeSettings, *, narrow: bool, target: float
) -> dict[str, Engine]:
    """Everything that is compared; students take the teacher's weights where they have them."""
    stock = engine_of(family, full, device, narrow=narrow)
    teacher = copied(stock)
    plan = PruningPlan.preset("paper", teacher.pipeline.unet)
    scale = 2 ** (len(full.vae["block_out_channels"]) - 1)
    cells = (full.defaults.num_frames, full.vae["latent_channels"])
    cells += (full.defaults.height // scale, full.defaults.width // scale)
    latents = torch.randn(1, *cells, device=device, dtype=stock.torch_dtype)

    def student(vae: Any) -> Engine:
        unet = build_student(stock.pipeline.unet, plan)
        return with_vae(student_engine(stock, unet, plan, "vdmini"), vae)

    small = small_vae(stock.pipeline.vae, latents, target, runtime)
    return {
        STOCK: stock,
        TEACHER: teacher,
        STUDENT_UNET: student(copy.deepcopy(stock.pipeline.vae)),
        STUDENT: student(small),
    }


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_subject(parser)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--decoder-latency", type=float, default=0.3)
    parser.add_argument("--scaling", action="store_true", help="also how time grows with frames, size, steps and clips")
    parser.add_argument("--runtime", type=json.loads, default=None, help="JSON: our engine's switches")
    arguments = parser.parse_args()
    quiet_libraries()
    device, family = pick_device(arguments.device), family_named(arguments.family)
    full = subject(family, arguments)
    runtime = settings_for(device) if arguments.runtime is None else RuntimeSettings(**arguments.runtime)
    with torch.no_grad():  # weights of inference mode can't be laid out anew
        made = engines(
            family, full, device, runtime, narrow=arguments.width is not None, target=arguments.decoder_latency
        )
    rivals, rate = tuned(made, runtime), matmul_rate(device, made[STOCK].torch_dtype)
    found = measure(rivals, sample_input(made[STOCK]), runs=arguments.runs, rate=rate, say=lambda _: None)
    record = {
        "dtype": made[STOCK].dtype,
        "runtime": runtime.model_dump(exclude_defaults=True, mode="json"),
        "clip": full.defaults.model_dump(),
        "unet": dict(full.unet),
        "matmul_flops_per_second": round(rate),
        "small_decoder": {"widths": widths_of(made[STUDENT].pipeline.vae.decoder)},
        "contenders": {name: one.model_dump() for name, one in found.items()},
    }
    written = provenance(shlex.join(["python", *sys.argv])) | record
    arguments.output.write_text(json.dumps(written, indent=2) + "\n")
    for name, one in found.items():
        against = {other: ratio.median for other, ratio in one.against.items()}
        print(
            name, {stage: spread.median for stage, spread in one.seconds.items()}, against, one.matmul_share, flush=True
        )
    if arguments.scaling:
        grown = {
            rival.name: [point.model_dump() for point in points(rival.engine, sample_input(rival.engine), print)]
            for rival in rivals
            if rival.name in (TEACHER, STUDENT)
        }
        arguments.output.write_text(json.dumps(written | {"scaling": grown}, indent=2) + "\n")


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Arguments that say what is timed, and where the record goes."""
    parser.add_argument("family", choices=("svd", "videocrafter2"))
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--width", type=int, default=None, help="channels of the first stage")
    parser.add_argument("--size", type=int, nargs=2, default=None, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=None)
    parser.add_argument("--device", default=None)


def subject(family: Family, arguments: argparse.Namespace) -> FullSize:
    """The published model in one step if it makes videos from images, narrowed and shortened as asked."""
    full = family.full_size if arguments.width is None else narrowed(family.full_size, arguments.width)
    changes: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 1.0} if family.task == "i2v" else {}
    if arguments.size:
        changes |= dict(zip(("width", "height"), arguments.size, strict=True))
    if arguments.frames:
        changes["num_frames"] = arguments.frames
    return replace(full, defaults=full.defaults.model_copy(update=changes))


if __name__ == "__main__":
    main()
