"""VideoCrafter2's and T2V-Turbo-v2's published files become one teacher (arXiv 2401.09047, 2410.05677).

Weights go from the mapped checkpoint into the artifact one at a time, so that an import needs no more memory than the
pages of the checkpoint that the system cares to keep.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, LCMScheduler
from torch import Tensor
from transformers import CLIPTextConfig

from vdmini.artifact import refuse_foreign, replacing, sha256_of, weight_bytes, weights_sha256, write_manifest
from vdmini.cost import empty_vae, unet_cost
from vdmini.families import family_named
from vdmini.families.videocrafter2 import VideoCrafter2
from vdmini.manifest import Cost, Defaults, Limits, Manifest, TeacherId
from vdmini.student import empty_unet
from vdmini.text_to_video import VDMiniTextToVideoPipeline
from vdmini.unet3d_fps import UNet3DFpsConditionModel
from vdmini.weights import forget_places
from vdmini_compress.importing.checkpoint import CheckpointError, part, place, read_pickle, tensors_in
from vdmini_compress.importing.encoders import empty_text_encoder, place_text_encoder, place_vae
from vdmini_compress.importing.room import check_room
from vdmini_compress.importing.tokenizer import TOKENIZER, load_tokenizer
from vdmini_compress.importing.unet_keys import unet_slots
from vdmini_compress.importing.weights_file import listed, weight_bytes_of, write_weights

PUBLISHED = VideoCrafter2.full_size

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."

SCHEDULE_KEYS = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "scale_arr",
        "scale_factor",
    }
)
"""Tables of the noise schedule that VideoCrafter2 saves along; the scheduler computes its own."""

SCHEDULER: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "original_inference_steps": 200,
}
"""As T2V-Turbo-v2 samples: of 1000 timesteps every fifth was trained."""

LICENCE = (
    "T2V-Turbo-v2's weights are published as Apache-2.0; VideoCrafter2, which they were trained from, asks for "
    "personal, research and non-commercial use"
)


@dataclass(frozen=True)
class Architecture:
    """What is imported; anything but the published one is for tests.

    Args:
        unet: config of `UNet3DFpsConditionModel`, without its guidance and motion inputs: the checkpoint tells them.
        vae: config of `AutoencoderKL`.
        text: config of `CLIPTextModel`, one layer less than the checkpoint's tower has.
        width: of a clip in pixels.
        height: of a clip in pixels.
        num_frames: of a clip.
    """

    unet: Mapping[str, Any] = field(default_factory=lambda: PUBLISHED.unet)
    vae: Mapping[str, Any] = field(default_factory=lambda: PUBLISHED.vae)
    text: Mapping[str, Any] = field(
        default_factory=lambda: {
            "vocab_size": 49408,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "max_position_embeddings": 77,
            "hidden_act": "gelu",
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 0,
        }
    )
    width: int = PUBLISHED.defaults.width
    height: int = PUBLISHED.defaults.height
    num_frames: int = PUBLISHED.defaults.num_frames


@dataclass(frozen=True)
class Parts:
    """The pipeline's parts on the meta device, and their weights, which nobody has read yet.

    Args:
        modules: component -> empty module.
        weights: component -> its model's names -> tensors in the mapped checkpoint.
    """

    modules: Mapping[str, Any]
    weights: Mapping[str, Mapping[str, Tensor]]


FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


def import_videocrafter2(
    checkpoint: Path,
    output: Path,
    *,
    unet: Path | None = None,
    tokenizer: str = TOKENIZER,
    architecture: Architecture | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a teacher.

    Args:
        checkpoint: VideoCrafter2's model.ckpt: VAE, text encoder and U-Net.
        output: where the artifact goes; it appears when it is whole.
        unet: T2V-Turbo-v2's unet_mg.pt or unet_no_mg.pt; none: the U-Net in `checkpoint`, if it takes guidance.
        tokenizer: a folder or hub id, see `load_tokenizer`.
        architecture: the published one by default.
        say: receives progress, one line at a time.

    Returns:
        The manifest.

    Raises:
        CheckpointError: when a file isn't what it should be, a key is missing, left over or of another shape, the U-Net
            has no distilled guidance, or there is no tokenizer.
        vdmini_compress.importing.weights_file.OverflowedError: when a weight doesn't fit float16.
        vdmini_compress.preflight.PreflightError: when the disk is too small.
        vdmini.artifact.ArtifactError: when `output` holds something else.
    """
    refuse_foreign(output)
    wanted = architecture or Architecture()
    text_config = CLIPTextConfig(**wanted.text)
    words = load_tokenizer(tokenizer, vocab_size=text_config.vocab_size, length=text_config.max_position_embeddings)
    parts = read_parts(checkpoint, unet, wanted)
    check_room(output.parent, sum(weight_bytes_of(listed(state)) for state in parts.weights.values()))
    pipeline = VDMiniTextToVideoPipeline(**parts.modules, tokenizer=words, scheduler=LCMScheduler(**SCHEDULER))
    with replacing(output) as folder:
        _save_configs(pipeline, folder)
        for name, file in FILES.items():
            say(f"writing {name}")
            state = parts.weights[name]
            source = unet if unet and name == "unet" else checkpoint
            write_weights(folder / name / file, listed(state), state.__getitem__, source=str(source))
        say("hashing")
        sources = [path for path in (checkpoint, unet) if path]
        return write_manifest(folder, _manifest(pipeline, folder, wanted, sources))


def read_parts(checkpoint: Path, unet: Path | None, wanted: Architecture) -> Parts:
    """Map the files and give every tensor its place.

    Raises:
        CheckpointError: see `import_videocrafter2`.
    """
    state = _checkpoint_state(checkpoint)
    denoiser = (
        tensors_in(read_pickle(unet), unet, "a bare U-Net state dict, as in unet_mg.pt") if unet else part(state, UNET)
    )
    empty = _empty_unet(denoiser, unet or checkpoint, wanted)
    vae = empty_vae(AutoencoderKL, wanted.vae)
    text_config = CLIPTextConfig(**wanted.text)
    modules = {"unet": empty, "vae": vae, "text_encoder": empty_text_encoder(text_config)}
    weights = {
        "unet": place(denoiser, unet_slots(empty), f"the U-Net in {unet or checkpoint}"),
        "vae": place_vae(part(state, VAE), vae),
        "text_encoder": place_text_encoder(part(state, TEXT), text_config),
    }
    return Parts(modules, weights)


def _checkpoint_state(checkpoint: Path) -> dict[str, Tensor]:
    what = f"VideoCrafter2's model.ckpt, whose state_dict has keys that begin with {UNET}, {VAE} and {TEXT}"
    loaded = read_pickle(checkpoint)
    if not isinstance(loaded, Mapping) or "state_dict" not in loaded:
        found = ", ".join(map(str, list(loaded)[:3])) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise CheckpointError(f"{checkpoint} has no state_dict, but {found}; needed is {what}")
    state = tensors_in(loaded["state_dict"], checkpoint, what)
    others = [key for key in state if not key.startswith((UNET, VAE, TEXT)) and key not in SCHEDULE_KEYS]
    if others:
        raise CheckpointError(
            f"{checkpoint}: {len(others)} keys are not known, such as {', '.join(others[:5])}; needed is {what}"
        )
    return state


def _empty_unet(denoiser: Mapping[str, Tensor], source: Path, wanted: Architecture) -> Any:
    """The U-Net that a state dict is of: what the guidance and motion inputs are, its keys tell."""
    if denoiser and "time_cond_proj.weight" not in denoiser:
        raise CheckpointError(
            f"the U-Net in {source} takes no guidance weight (it has no time_cond_proj.weight): it is VideoCrafter2's "
            "own, which needs some 50 steps with two passes each. VDMini samples models with distilled guidance in 4 "
            "to 16 steps; give T2V-Turbo-v2's with --unet unet_mg.pt"
        )
    motion = any(key in denoiser for key in ("motion_cond_proj.weight", "combine_proj.weight"))
    scale = 2 ** (len(wanted.vae["block_out_channels"]) - 1)
    size = (wanted.height // scale, wanted.width // scale)
    return empty_unet(UNet3DFpsConditionModel, {**wanted.unet, "motion_cond": motion, "sample_size": size})


def _save_configs(pipeline: Any, folder: Path) -> None:
    pipeline.save_config(folder)
    pipeline.unet.save_config(folder / "unet")
    pipeline.vae.save_config(folder / "vae")
    pipeline.text_encoder.config.architectures = ["CLIPTextModel"]
    pipeline.text_encoder.config.save_pretrained(folder / "text_encoder")
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    forget_places(folder)


def _manifest(pipeline: Any, folder: Path, wanted: Architecture, sources: list[Path]) -> Manifest:
    motion = bool(pipeline.unet.config.motion_cond)
    name = "t2v-turbo-v2" if motion else "videocrafter2-lcm"
    family = family_named("videocrafter2")
    height, width = pipeline.unet.config.sample_size
    cost = unet_cost(pipeline.unet, num_frames=wanted.num_frames, height=height, width=width)
    shape = {"width": wanted.width, "height": wanted.height, "num_frames": wanted.num_frames}
    return Manifest(
        name=f"{name}-teacher",
        variant="teacher",
        family=family.name,
        task=family.task,
        teacher=TeacherId(id=name, sha256=weights_sha256(folder), licence=LICENCE),
        limits=Limits(
            sizes=((wanted.width, wanted.height),),
            min_num_frames=wanted.num_frames,
            max_num_frames=wanted.num_frames,
            min_fps=8,
            max_fps=32,
            num_inference_steps=(4, 8, 16),
            max_prompt_tokens=pipeline.tokenizer.model_max_length,
        ),
        defaults=Defaults(**shape, fps=8, num_inference_steps=4, guidance_scale=7.5),
        cost=Cost(
            unet_parameters=cost.parameters,
            unet_flops=cost.flops,
            vae_decoder_parameters=family.decoder_parameters(pipeline),
            total_bytes=weight_bytes(folder),
        ),
        training={
            "imported_from": {path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for path in sources}
        },
    )
