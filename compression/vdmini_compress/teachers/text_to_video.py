"""The small text-to-video teacher: VideoCrafter2's classes, trained as a 4-step latent consistency model.

The small world's captions say all that is seen, so the clean latents that a consistency model must map every noise
level to are known, and the model is fitted to them directly instead of being distilled from a many-step one.

Legend: B clips, F frames, C latent channels, H height, W width of the latents.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, LCMScheduler
from diffusers.models.resnet import TemporalConvLayer
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vdmini.text_to_video import VDMiniTextToVideoPipeline
from vdmini.unet3d_fps import UNet3DFpsConditionModel
from vdmini.weights import save_pipeline
from vdmini_compress.precision import mixed_precision
from vdmini_compress.taps import tapped
from vdmini_compress.teachers.autoencoder import latent_modes, losses_of, pixel_weight, weighted_square
from vdmini_compress.teachers.mosaic import silence_residuals, start_as_mosaic
from vdmini_compress.teachers.reading import READOUT_STAGES, PathReadout, learn_to_read
from vdmini_compress.teachers.words import MAX_LENGTH, build_tokenizer
from vdmini_compress.text_batch import NoiseSchedule, TextBatch
from vdmini_compress.training import Losses, Schedule
from vdmini_compress.world import captions, clips

FPS_CHOICES = (8, 12, 16)
LATENT_CHANNELS = 8
TEXT_WIDTH = 64
GUIDANCE_DIM = 32
FROM_NOISE_SHARE = 0.7
"""Share of training clips that start from pure noise: there alone the caption must be read to know anything."""

PATH_WEIGHT = 0.3
"""Weight of `PathReadout.loss` beside the clip's own loss."""

MOVING_WEIGHT = 10.0
"""How much more an error counts where something moves (the sprite is a tenth of the picture)."""


def build_vae() -> AutoencoderKL:
    """A 2D VAE: 64x64 pixels to 8x8 latents of 8 channels."""
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        sample_size=64,
        mid_block_add_attention=False,
        force_upcast=False,
    )
    start_as_mosaic(vae)
    return vae


def build_unet() -> UNet3DFpsConditionModel:
    """A U-Net with the four stages of VideoCrafter2's, a tenth as wide."""
    unet: UNet3DFpsConditionModel = UNet3DFpsConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 32, 64, 64),
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
        time_cond_proj_dim=GUIDANCE_DIM,
    )
    silence_residuals(unet)
    _wake_time(unet)
    with torch.no_grad():
        unet.conv_in.weight.mul_(0.1)  # most training clips start from noise that says nothing
    return unet


def _wake_time(unet: nn.Module) -> None:
    """Draw the last temporal convolutions afresh, which diffusers zeroes.

    Nothing but the zero padding of these convolutions tells the first frame from the last, so a model that starts
    without them sees no direction in a caption until it has grown them.
    """
    for module in unet.modules():
        if isinstance(module, TemporalConvLayer):
            module.conv4[-1].reset_parameters()


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text model of two layers; it is trained together with the U-Net."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_scheduler() -> LCMScheduler:
    """VideoCrafter2's noise schedule, made to end in pure noise; the U-Net predicts the clean latents.

    Without zero terminal signal-to-noise (arXiv 2305.08891) a trace of the clip is left at the last timestep. In a
    world this simple that trace tells where the sprite goes, so the model learns to read it and not the caption, and
    then reads directions out of the noise that it is given when sampling.
    """
    return LCMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        original_inference_steps=200,
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        clip_sample=False,
    )


def encode(vae: AutoencoderKL, frames_BF3HW: Tensor) -> Tensor:
    """Scaled latents [B, F, C, H, W], float32, of clips in 0..1."""
    flat = latent_modes(vae, frames_BF3HW.flatten(0, 1) * 2 - 1) * vae.config.scaling_factor
    latents: Tensor = flat.reshape(*frames_BF3HW.shape[:2], *flat.shape[1:])
    return latents


Filmed = tuple[captions.Scene, int]
"""A scene and the frames per second it is filmed at."""


def encode_scenes(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, pairs: list[Filmed], report: Callable[[str], None]
) -> dict[str, Tensor]:
    """Film and encode scenes.

    Returns:
        latents_NFCHW: scaled latents of the clips, float16.
        weight_NFHW: how much an error counts at each place, float16.
        tokens_NL: token ids of the captions, int64.
        fps_N: frames per second, float32.
        path_NF2: the sprite's centre relative to the picture's middle, pixels, float32.
    """
    latents, weights = [], []
    for start in range(0, len(pairs), 64):
        part = pairs[start : start + 64]
        batch = clips.text_clips([s for s, _ in part], torch.tensor([float(f) for _, f in part]))
        z = encode(vae, batch.frames_BF3HW)
        latents.append(z.half())
        weights.append(moving_weight(z, encode(vae, batch.background_B3HW[:, None])).half())
        if start % 640 == 0:
            report(f"encoding {start}/{len(pairs)} clips")
    return {
        "latents_NFCHW": torch.cat(latents),
        "weight_NFHW": torch.cat(weights),
        "tokens_NL": tokenize(tokenizer, [s.caption for s, _ in pairs]),
        "fps_N": torch.tensor([float(f) for _, f in pairs]),
        "path_NF2": clips.text_paths([s for s, _ in pairs], torch.tensor([float(f) for _, f in pairs])),
    }


def training_films() -> list[Filmed]:
    """Every scene that is not held out, at every fps of `FPS_CHOICES`."""
    return [(scene, fps) for fps in FPS_CHOICES for scene in training_scenes()]


def training_scenes() -> list[captions.Scene]:
    """Every scene that is not held out."""
    return [s for s in captions.all_scenes() if not captions.is_held_out(s)]


def moving_weight(latents_BFCHW: Tensor, still_B1CHW: Tensor) -> Tensor:
    """Weights [B, F, H, W]: `MOVING_WEIGHT` where a clip differs from its still, else 1."""
    change = (latents_BFCHW - still_B1CHW).abs().mean(dim=2)
    return 1 + (MOVING_WEIGHT - 1) * (change > 0.15).float()


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids [B, MAX_LENGTH], padded and cut."""
    made: Any = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = made.input_ids
    return ids


class TextToVideo(nn.Module):
    """What is trained together: the U-Net, the text encoder and the readout that is thrown away.

    It stays in evaluation mode: the dropout of the temporal convolutions blurs the one thing that tells frames apart.
    """

    def __init__(self, unet: UNet3DFpsConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder
        width = unet.config.block_out_channels
        channels = (width[2], width[-1], width[-1], width[-2], width[-3])
        self.readout = PathReadout(dict(zip(READOUT_STAGES, channels, strict=True)))
        self.eval()


class SmallTextToVideo:
    """How the small text-to-video teacher is made."""

    name = "small-t2v"
    batch_size = 8
    vae_schedule = Schedule(steps=2600, learning_rate=8e-4, warmup=50, ema_decay=0.99, checkpoint_every=200)
    decoder_schedule: Schedule | None = None
    eye_schedule: Schedule | None = None
    denoiser_schedule = Schedule(steps=2000, learning_rate=1.5e-3, checkpoint_every=100)

    def __init__(self) -> None:
        self.tokenizer = build_tokenizer()
        self.scheduler = build_scheduler()

    def prepare(self, folder: Path, start: Path | None, report: Callable[[str], None]) -> None:
        """Nothing: the text encoder is built with the denoiser and trained along."""

    def build_vae(self) -> AutoencoderKL:
        """See `build_vae`."""
        return build_vae()

    def vae_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two frames of each of four random clips."""
        scenes = training_scenes()
        picked = torch.randint(len(scenes), (4,), generator=generator)
        fps = torch.tensor(FPS_CHOICES).float()[torch.randint(len(FPS_CHOICES), (4,), generator=generator)]
        batch = clips.text_clips([scenes[i] for i in picked], fps)
        frames = batch.frames_BF3HW[:, torch.randint(8, (2,), generator=generator)]
        return frames, pixel_weight(frames, batch.background_B3HW)

    def build_denoiser(self) -> TextToVideo:
        """The U-Net and a text encoder that has learned to read."""
        unet, text_encoder = build_unet(), build_text_encoder(self.tokenizer)
        scenes = training_scenes()
        tokens = tokenize(self.tokenizer, [s.caption for s in scenes])
        learn_to_read(text_encoder, scenes, tokens, self.tokenizer.eos_token_id, self.denoiser_schedule.seed)
        return TextToVideo(unet, text_encoder)

    def load_denoiser(self, denoiser: TextToVideo, folder: Path) -> None:
        """The U-Net and the text encoder; the readout starts afresh."""
        for part, model in (("unet", denoiser.unet), ("text_encoder", denoiser.text_encoder)):
            saved = type(model).from_pretrained(folder / part, torch_dtype=torch.float32)
            model.load_state_dict(saved.state_dict())

    def encode_world(
        self,
        vae: AutoencoderKL,
        seed: int,  # noqa: ARG002 - all captions are encoded, so there is nothing to draw
        report: Callable[[str], None],
    ) -> dict[str, Tensor]:
        """Encode `training_films()`; nothing in it is random."""
        return encode_scenes(vae, self.tokenizer, training_films(), report)

    def denoiser_losses(
        self, denoiser: TextToVideo, cache: dict[str, Tensor], device: torch.device
    ) -> Callable[[torch.Generator, int], Losses]:
        """The weighted squared error of the clean latents at the noise levels of 4 and 16 steps, and the path's."""
        few, many = timesteps_of(self.scheduler, 4), timesteps_of(self.scheduler, 16)
        stages, schedule = {stage: stage for stage in READOUT_STAGES}, NoiseSchedule.of(self.scheduler)

        def losses(generator: torch.Generator, step: int) -> Losses:
            index = torch.randint(len(cache["fps_N"]), (self.batch_size,), generator=generator)
            timestep = draw_timesteps(few if step % 2 else many, self.batch_size, generator)
            batch = TextBatch.draw(schedule, cache, index, timestep, GUIDANCE_DIM, generator).to(device)
            with mixed_precision(device), tapped(denoiser.unet, stages) as features:
                text = denoiser.text_encoder(batch.tokens_BL).last_hidden_state
                made = batch.run(denoiser.unet, text)
            error = weighted_square(made.float() - batch.target_BFCHW, cache["channel_weight_C"])
            path = denoiser.readout.loss(features, cache["path_NF2"][index].to(device))
            return {
                "task": (error * batch.weight_BFHW).sum() / batch.weight_BFHW.sum(),
                "path": PATH_WEIGHT * path,
            }

        return losses

    def decoder_losses(
        self,
        vae: AutoencoderKL,
        denoiser: TextToVideo,  # noqa: ARG002 - a 2D decoder is done when the VAE is
        device: torch.device,
    ) -> Callable[[torch.Generator, int], Losses]:
        """The VAE's own: a 2D decoder doesn't know of clips."""
        return losses_of(vae, self.vae_batch, device)

    def save_pipeline(self, vae: AutoencoderKL, denoiser: TextToVideo, folder: Path) -> None:
        """Write the diffusers folder, float16."""
        pipeline = VDMiniTextToVideoPipeline(
            vae, denoiser.text_encoder, self.tokenizer, denoiser.unet, build_scheduler()
        )
        save_pipeline(pipeline, folder)


def timesteps_of(scheduler: LCMScheduler, steps: int) -> Tensor:
    """The timesteps that sampling in so many steps visits, int64, falling."""
    scheduler.set_timesteps(steps, original_inference_steps=scheduler.config.original_inference_steps)
    timesteps: Tensor = scheduler.timesteps.clone()
    return timesteps


def draw_timesteps(
    timesteps_N: Tensor, count: int, generator: torch.Generator, *, highest: float = FROM_NOISE_SHARE
) -> Tensor:
    """Timesteps [count], int64: a share `highest` of them the highest, the others any of `timesteps_N`."""
    picked = timesteps_N[torch.randint(len(timesteps_N), (count,), generator=generator)]
    from_noise = torch.rand(count, generator=generator) < highest
    return torch.where(from_noise, timesteps_N.max(), picked)
