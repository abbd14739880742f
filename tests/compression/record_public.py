"""Record what the public T2V-Turbo-v2 code computes with narrow weights, for `test_import_equals_public.py`.

    python tests/compression/record_public.py --checkout T2V-TURBO --output tests/compression/data/public.safetensors

T2V-TURBO is a clone of the repository Ji4chenLi/t2v-turbo; einops, ftfy and open_clip_torch 2.24.0, the version that
its README asks for, must be installed beside VDMini's own needs. Other packages that it imports, and that the recorded
parts don't use, are stood in for. Beside FILE goes narrow_keys.json.xz: the keys and shapes of the public modules.
"""

import argparse
import hashlib
import importlib
import json
import lzma
import shlex
import sys
import types
from datetime import UTC, datetime
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from public_weights import (
    GUIDANCE_SCALE,
    MOTION_GS,
    PERCENTAGE,
    SHAPES,
    STEPS,
    TEXT,
    TIMESTEP,
    UNET,
    VAE,
    drawn,
    drawn_tokens,
    drawn_weight,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer  # noqa: F401 - before the stand-ins

STOOD_IN_FOR = ("cv2", "torchvision", "kornia", "pytorch_lightning", "timm")
SOURCES = (
    "lvdm/modules/networks/openaimodel3d.py",
    "lvdm/modules/attention.py",
    "lvdm/modules/encoders/condition.py",
    "lvdm/models/autoencoder.py",
    "pipeline/t2v_turbo_vc2_pipeline.py",
    "scheduler/t2v_turbo_scheduler.py",
)


class AnyName(type):
    def __getattr__(cls, name: str) -> None:
        return None


class StandIn(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return AnyName(name, (nn.Module,), {})


class StandIns(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in STOOD_IN_FOR else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


SHAPES_BY_PREFIX: dict[str, dict[str, list[int]]] = {}
"""Keys and shapes of the public modules, filled by `weighted`."""


def weighted(prefix: str, module: nn.Module) -> Any:
    """A public module with drawn weights, in evaluation mode.

    Args:
        prefix: what its keys begin with in a checkpoint.
        module: the module.
    """
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    module.load_state_dict({name: drawn_weight(name, shape) for name, shape in shapes.items()})
    SHAPES_BY_PREFIX[prefix] = {name: list(shape) for name, shape in shapes.items()}
    return module.eval()


def unet_outputs(unet: Any, embed: Any) -> dict[str, Tensor]:
    """Noise predictions by fps, with and without the motion condition."""
    made = {}
    guidance = embed(torch.tensor([GUIDANCE_SCALE]), embedding_dim=256)
    for fps in (8, 16):
        for motion in (None, embed(torch.tensor([MOTION_GS]), embedding_dim=256)):
            made[f"unet fps {fps}{'' if motion is None else ' motion'}"] = unet(
                drawn("latents", SHAPES["latents"]),
                torch.tensor([TIMESTEP]),
                context=drawn("context", SHAPES["context"]),
                fps=fps,
                timestep_cond=guidance,
                motion_cond=motion,
            )
    return made


def pipeline_of(unet: nn.Module) -> Any:
    """The public pipeline around a U-Net."""
    module = importlib.import_module("pipeline.t2v_turbo_vc2_pipeline")
    scheduler = importlib.import_module("scheduler.t2v_turbo_scheduler")
    count = iter(range(1, 1 + STEPS))
    scheduler.randn_tensor = lambda shape, **_: drawn(f"noise {next(count)}", tuple(shape))  # type: ignore[attr-defined]
    # What the class inherits for these asks for every argument of its constructor; it registers two of three.
    module.T2VTurboVC2Pipeline._execution_device = torch.device("cpu")
    module.T2VTurboVC2Pipeline.dtype = torch.float32
    whole = nn.Module()
    whole.first_stage_model = whole.cond_stage_model = nn.Identity()
    whole.model = nn.Module()
    whole.model.diffusion_model = unet
    return module.T2VTurboVC2Pipeline(
        whole, scheduler.T2VTurboScheduler(), {"params": {"unet_config": {"params": UNET}}}
    )


@torch.no_grad()
def outputs() -> dict[str, Tensor]:
    """Everything that is recorded."""
    networks = importlib.import_module("lvdm.modules.networks.openaimodel3d")
    autoencoder = importlib.import_module("lvdm.models.autoencoder")
    unet = weighted("model.diffusion_model.", networks.UNetModel(**UNET))
    pipeline = pipeline_of(unet)
    made = unet_outputs(unet, pipeline.get_w_embedding)
    made["clip"] = pipeline(
        prompt_embeds=drawn("context", SHAPES["context"]),
        latents=drawn("latents", SHAPES["latents"]),
        fps=8,
        frames=3,
        height=128,
        width=64,
        guidance_scale=GUIDANCE_SCALE,
        motion_gs=MOTION_GS,
        use_motion_cond=True,
        percentage=PERCENTAGE,
        num_inference_steps=STEPS,
        lcm_origin_steps=200,
        output_type="latent",
    )
    vae = weighted("first_stage_model.", autoencoder.AutoencoderKL(VAE, {"target": "torch.nn.Identity"}, 4))
    made["vae encoded"] = vae.encode(drawn("pixels", SHAPES["pixels"])).mode()
    made["vae decoded"] = vae.decode(drawn("vae latents", SHAPES["vae latents"]))
    made["text"] = text_features()
    return made


def text_features() -> Tensor:
    """What the public text encoder, penultimate layer, makes of `drawn_tokens`."""
    open_clip = importlib.import_module("open_clip")
    condition = importlib.import_module("lvdm.modules.encoders.condition")
    vision = open_clip.CLIPVisionCfg(layers=1, width=64, image_size=32, patch_size=16)
    encoder = condition.FrozenOpenCLIPEmbedder.__new__(condition.FrozenOpenCLIPEmbedder)
    nn.Module.__init__(encoder)  # its own constructor builds ViT-H, 354M parameters
    encoder.model = open_clip.CLIP(TEXT["width"], vision, open_clip.CLIPTextCfg(**TEXT))
    del encoder.model.visual
    weighted("cond_stage_model.model.", encoder.model)
    encoder.layer_idx = 1
    features: Tensor = encoder.encode_with_transformer(drawn_tokens())
    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(arguments.checkout))
    sys.meta_path.insert(0, StandIns())
    made = {name: value.contiguous() for name, value in outputs().items()}
    metadata = {
        "command": shlex.join(["python", "tests/compression/record_public.py", "--checkout", "T2V-TURBO"]),
        "date": datetime.now(UTC).date().isoformat(),
        "repository": "Ji4chenLi/t2v-turbo",
        "torch": version("torch"),
        "open_clip_torch": version("open_clip_torch"),
    }
    hashes = {name: hashlib.sha256((arguments.checkout / name).read_bytes()).hexdigest() for name in SOURCES}
    save_file(made, arguments.output, metadata=metadata | hashes)
    keys = json.dumps(SHAPES_BY_PREFIX, separators=(",", ":")).encode()
    arguments.output.with_name("narrow_keys.json.xz").write_bytes(lzma.compress(keys))
    for name, value in made.items():
        sys.stdout.write(f"{name} {tuple(value.shape)} {value.std():.4f}\n")


if __name__ == "__main__":
    main()
