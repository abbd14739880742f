"""Measure how much memory an import of full-size files takes: random weights in T2V-Turbo-v2's shapes.

    python benchmarks/import_memory.py --folder runs/import --output benchmarks/results/NAME.json

It needs some 11 GB of disk in the folder with float16 files, 17 GB with float32 ones, and deletes what it made. The
peak is the process's largest resident set (VmHWM): its own memory and the pages of mapped files, Python and its
libraries included. It is told as a share of model.ckpt alone, also where a second file is read.
"""

import argparse
import json
import math
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from provenance import provenance
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTokenizer

from vdmini.cost import empty_vae
from vdmini.student import empty_unet
from vdmini.unet3d_fps import UNet3DFpsConditionModel
from vdmini_compress.importing.encoders import text_shapes
from vdmini_compress.importing.unet_keys import unet_slots
from vdmini_compress.importing.videocrafter2 import TEXT, UNET, VAE, Architecture

Shapes = dict[str, tuple[int, ...]]

CHILD = """
import json, re, sys
from pathlib import Path
from vdmini_compress.cli import main
import vdmini_compress.importing.videocrafter2
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
code = main(sys.argv[1:])
print(json.dumps({"libraries_bytes": before, "peak_bytes": peak()}))
sys.exit(code)
"""


def published_shapes() -> tuple[Shapes, Shapes]:
    """Keys and shapes of a model.ckpt with a U-Net that takes guidance and motion, and of unet_mg.pt."""
    wanted = Architecture()
    unet = empty_unet(UNet3DFpsConditionModel, {**wanted.unet, "motion_cond": True})
    denoiser = {key: slot.published for key, slot in unet_slots(unet).items()}
    whole = {UNET + key: shape for key, shape in denoiser.items()}
    whole |= {VAE + key: shape for key, shape in vae_shapes(empty_vae(AutoencoderKL, wanted.vae)).items()}
    whole |= {TEXT + key: shape for key, shape in text_shapes(CLIPTextConfig(**wanted.text)).items()}
    return whole, denoiser


def vae_shapes(vae: Any) -> Shapes:
    """Stable Diffusion's keys and shapes of a VAE."""
    renamed = (
        ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
        ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.to_", "mid.attn_1."),
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"),
        ("down_blocks.", "down."),
        *((f"up_blocks.{index}.", f"up.{3 - index}.") for index in range(4)),
        ("resnets.", "block."),
        ("samplers.0.", "sample."),
    )
    shapes = {}
    for name, weight in vae.state_dict().items():
        key = name
        for ours, theirs in renamed:
            key = key.replace(ours, theirs)
        shapes[key] = tuple(weight.shape)
    return shapes


def write_checkpoints(folder: Path, dtype: torch.dtype) -> None:
    """Write both files, one after the other, and a tokenizer with CLIP's number of tokens."""
    whole, denoiser = published_shapes()
    torch.save({"state_dict": random_state(whole, dtype)}, folder / "model.ckpt")
    torch.save(random_state(denoiser, dtype), folder / "unet_mg.pt")
    vocab = {"!": 0} | {f"word{index}</w>": index for index in range(1, 49406)}
    vocab |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    options: dict[str, Any] = {"vocab": vocab, "merges": []}
    CLIPTokenizer(**options).save_pretrained(folder / "tokenizer")


def random_state(shapes: Shapes, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights of these shapes; large ones repeat the same numbers, which is nothing to an import."""
    numbers = (0.02 * torch.randn(max(math.prod(shape) for shape in shapes.values()))).to(dtype)
    return {key: numbers[: math.prod(shape)].clone().reshape(shape) for key, shape in shapes.items()}


def measured(folder: Path, *files: str) -> dict[str, Any]:
    """Import in a process of its own, and what that took."""
    output = folder / "teacher"
    command = ["import", "videocrafter2", "--tokenizer", str(folder / "tokenizer"), "--output", str(output), *files]
    start = time.perf_counter()
    made = subprocess.run([sys.executable, "-c", CHILD, *command], check=True, capture_output=True, text=True)  # noqa: S603
    seconds = round(time.perf_counter() - start, 1)
    size = (folder / "model.ckpt").stat().st_size
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    share = {"share_of_checkpoint": round(found["peak_bytes"] / size, 3), "seconds": seconds}
    written = sum(path.stat().st_size for path in output.rglob("*.safetensors"))
    shutil.rmtree(output)
    return found | share | {"checkpoint_bytes": size, "artifact_bytes": written}


def main() -> None:
    """Run what the command line asks for and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="made, and deleted at the end")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="of the files (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True)
    try:
        write_checkpoints(folder, getattr(torch, arguments.dtype))
        one = ("--checkpoint", str(folder / "model.ckpt"))
        runs = {
            "model.ckpt alone": measured(folder, *one),
            "model.ckpt and unet_mg.pt": measured(folder, *one, "--unet", str(folder / "unet_mg.pt")),
        }
    finally:
        shutil.rmtree(folder)
    command = shlex.join(["python", *sys.argv])
    record = provenance(command) | {"dtype": arguments.dtype, "runs": runs}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(runs, indent=2))


if __name__ == "__main__":
    main()
