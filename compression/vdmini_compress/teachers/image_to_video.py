"""The small image-to-video teacher: Stable Video Diffusion's classes, trained to answer in a single forward pass.

A clip of the small world follows from its first frame and `motion_bucket_id`, so the U-Net is fitted directly to the
clean latents from noise of sigma 700, where SF-V samples (arXiv 2406.04324).

Legend: B clips, F frames, C latent channels, H height, W width of the latents.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from vdmini.weights import save_pipeline
from vdmini_compress.image_batch import NOISE_AUG_STRENGTH, SIGMA_MAX, ImageBatch
from vdmini_compress.precision import mixed_precision
from vdmini_compress.teachers.autoencoder import decode, latent_modes, pixel_losses, pixel_weight, weighted_square
from vdmini_compress.teachers.mosaic import silence_residuals, start_as_mosaic
from vdmini_compress.teachers.seeing import Eye
from vdmini_compress.training import Losses, Run, Schedule, generator_for
from vdmini_compress.world import clips

LATENT_CHANNELS = 16
IMAGE_EMBED_DIM = 32
IMAGINED_SHARE = 0.6
"""Share of the decoder's clips that are decoded from the denoiser's latents."""


def build_vae() -> AutoencoderKLTemporalDecoder:
    """A temporal VAE: 64x64 pixels to 8x8 latents of 16 channels."""
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(64, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        sample_size=64,
        force_upcast=False,
    )
    start_as_mosaic(vae)
    return vae


def build_unet() -> UNetSpatioTemporalConditionModel:
    """A U-Net with SVD's four stages; 64 channels at the first, since its 32 norm groups need at least two each."""
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 32, 32, 32),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        cross_attention_dim=IMAGE_EMBED_DIM,
        num_attention_heads=(4, 2, 2, 2),
        num_frames=8,
    )
    silence_residuals(unet)
    with torch.no_grad():
        unet.conv_in.weight[:, :LATENT_CHANNELS] = 0
    return unet


def build_image_encoder() -> CLIPVisionModelWithProjection:
    """A CLIP vision model of two layers; it learns what to say in `vdmini_compress.teachers.seeing`."""
    config = CLIPVisionConfig(
        image_size=224,
        patch_size=16,
        hidden_size=48,
        intermediate_size=96,
        projection_dim=IMAGE_EMBED_DIM,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    return CLIPVisionModelWithProjection(config).eval()


def build_scheduler() -> EulerDiscreteScheduler:
    """SVD's scheduler."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=SIGMA_MAX,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )


def embed(image_encoder: CLIPVisionModelWithProjection, frame_B3HW: Tensor) -> Tensor:
    """CLIP embeddings [B, D] of pictures in 0..1, resized and normalised as SVD's does, where the encoder is."""
    processor, device = CLIPImageProcessor(), image_encoder.device
    mean = torch.tensor(processor.image_mean, device=device)[:, None, None]
    std = torch.tensor(processor.image_std, device=device)[:, None, None]
    pixels = F.interpolate(frame_B3HW.to(device), (224, 224), mode="bicubic", align_corners=True)
    made: Tensor = image_encoder((pixels - mean) / std).image_embeds
    return made


@torch.no_grad()
def encode(vae: Any, image_encoder: Any, batch: clips.ImageClips, generator: torch.Generator) -> dict[str, Tensor]:
    """Encode a batch of clips and their conditions.

    Returns:
        latents_NFCHW: scaled latents of the clips, float16.
        image_latents_NCHW: unscaled latents of the noise-augmented first frame, as SVD concatenates them, float16.
        image_embeds_ND: the image encoder's embedding of the first frame, float16.
        motion_bucket_id_N: int64 in 0..255.
    """
    frames = batch.frames_BF3HW
    first = frames[:, 0] * 2 - 1
    noisy = first + NOISE_AUG_STRENGTH * torch.randn(first.shape, generator=generator)
    latents = latent_modes(vae, frames.flatten(0, 1) * 2 - 1) * vae.config.scaling_factor
    return {
        "latents_NFCHW": latents.reshape(*frames.shape[:2], *latents.shape[1:]).half(),
        "image_latents_NCHW": latent_modes(vae, noisy).half(),
        "image_embeds_ND": embed(image_encoder, frames[:, 0]).cpu().half(),
        "motion_bucket_id_N": batch.motion_bucket_id_B,
    }


def encode_clips(
    vae: Any, image_encoder: Any, count: int, seed: int, report: Callable[[str], None]
) -> dict[str, Tensor]:
    """Draw and encode `count` clips, three in four with a sprite; see `encode` for what is returned."""
    parts = []
    for start in range(0, count, 32):
        generator = generator_for(seed, start)
        size = min(32, count - start)
        batch = clips.image_clips(size - size // 4, size // 4, generator)
        parts.append(encode(vae, image_encoder, batch, generator))
        if start % 512 == 0:
            report(f"encoding {start}/{count} clips")
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


class SmallImageToVideo:
    """How the small image-to-video teacher is made."""

    name = "small-i2v"
    batch_size = 8
    clips_cached = 6144
    eye_schedule: Schedule | None = Schedule(
        steps=1000, learning_rate=3e-3, warmup=50, ema_decay=0.98, shards=2, checkpoint_every=200
    )
    vae_schedule = Schedule(steps=2000, learning_rate=6e-4, warmup=50, ema_decay=0.99, checkpoint_every=200)
    decoder_schedule: Schedule | None = Schedule(
        steps=500, learning_rate=3e-4, warmup=30, ema_decay=0.98, shards=2, checkpoint_every=50
    )
    denoiser_schedule = Schedule(steps=2100, learning_rate=1e-3, shards=2, checkpoint_every=100)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.image_encoder = build_image_encoder()

    def prepare(self, folder: Path, start: Path | None, report: Callable[[str], None]) -> None:
        """The image encoder: taught to see, or an earlier teacher's."""
        if start is None and self.eye_schedule:
            eye = Eye(self.image_encoder, IMAGE_EMBED_DIM, embed)
            run = Run(folder / "eye", eye, self.eye_schedule, report=lambda line: report(f"eye: {line}"))
            run.train(eye.losses)
        elif start is not None:
            self.image_encoder = CLIPVisionModelWithProjection.from_pretrained(
                start / "image_encoder", torch_dtype=torch.float32
            )
        self.image_encoder.eval().requires_grad_(False)

    def build_vae(self) -> AutoencoderKLTemporalDecoder:
        """See `build_vae`."""
        return build_vae()

    def vae_batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Three frames of each of two sprite clips and one camera clip."""
        batch = clips.image_clips(2, 1, generator)
        start = int(torch.randint(3, (1,), generator=generator))
        frames = batch.frames_BF3HW[:, [start, start + 2, start + 4]]
        return frames, pixel_weight(frames, batch.background_B3HW)

    def build_denoiser(self) -> UNetSpatioTemporalConditionModel:
        """See `build_unet`."""
        return build_unet()

    def load_denoiser(self, denoiser: UNetSpatioTemporalConditionModel, folder: Path) -> None:
        """The U-Net."""
        saved = UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        denoiser.load_state_dict(saved.state_dict())

    def encode_world(self, vae: Any, seed: int, report: Callable[[str], None]) -> dict[str, Tensor]:
        """Encode `clips_cached` clips, three in four with a sprite."""
        return encode_clips(vae, self.image_encoder, self.clips_cached, seed + 1, report)

    def denoiser_losses(
        self, denoiser: UNetSpatioTemporalConditionModel, cache: dict[str, Tensor], device: torch.device
    ) -> Callable[[torch.Generator, int], Losses]:
        """The weighted squared error of the clean latents predicted from sigma 700."""

        def losses(generator: torch.Generator, _: int) -> Losses:
            index = torch.randint(len(cache["motion_bucket_id_N"]), (self.batch_size,), generator=generator)
            batch = ImageBatch.draw(cache, index, generator).to(device)
            with mixed_precision(device):
                made = batch.run(denoiser)
            weight = batch.weight_BFHW
            error = weighted_square(batch.denoised(made) - batch.target_BFCHW, cache["channel_weight_C"])
            return {"task": (error * weight).sum() / weight.sum()}

        return losses

    def decoder_losses(
        self, vae: Any, denoiser: UNetSpatioTemporalConditionModel, device: torch.device
    ) -> Callable[[torch.Generator, int], Losses]:
        """Errors of one whole decoded clip, a sprite's two times in three.

        Some clips are decoded from their own latents, some from those that the denoiser makes of their first frame:
        what it gets wrong in the same way again and again, the decoder learns to put right.
        """

        def losses(generator: torch.Generator, _: int) -> Losses:
            camera, imagined = (torch.rand(2, generator=generator) < torch.tensor([1 / 3, IMAGINED_SHARE])).tolist()
            batch = clips.image_clips(int(not camera), int(camera), generator)
            with torch.no_grad():
                encoded = encode(vae, self.image_encoder, batch, generator)
                drawn = ImageBatch.draw(encoded, torch.arange(1), generator).to(device)
                latents = drawn.denoised(drawn.run(denoiser)) if imagined else drawn.target_BFCHW
            weight = pixel_weight(batch.frames_BF3HW, batch.background_B3HW).to(device)
            with mixed_precision(device):
                made = decode(vae, latents / vae.config.scaling_factor)
            return pixel_losses(made, batch.frames_BF3HW.to(device) * 2 - 1, weight)

        return losses

    def save_pipeline(self, vae: Any, denoiser: Any, folder: Path) -> None:
        """Write the diffusers folder, float16."""
        pipeline = StableVideoDiffusionPipeline(
            vae, self.image_encoder, denoiser, build_scheduler(), CLIPImageProcessor()
        )
        save_pipeline(pipeline, folder)
