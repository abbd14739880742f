"""Turns clips into what a student learns from, with the encoders of the teacher's own pipeline.

Legend: N = 1 clip, F frames, C latent channels, H height, W width, L tokens, D features, 3 colour channels.
"""

import hashlib
import json
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vdmini_compress.data import Cache, text_family
from vdmini_compress.evaluate import to_picture
from vdmini_compress.image_batch import NOISE_AUG_STRENGTH
from vdmini_compress.teachers.autoencoder import latent_modes
from vdmini_compress.teachers.text_to_video import tokenize

DECODING = ("decoder.", "post_quant_conv.")
"""Parts of a VAE that no latent depends on: the decoder may be trained without making a cache worthless."""


class ClipEncoder(Protocol):
    """Encodes clips one by one, so that what comes out doesn't depend on their company."""

    def fingerprint(self) -> str:
        """Hex sha256 of all that decides the result besides the clip."""
        ...

    def encode(self, frames_F3HW: Tensor, caption: str | None, fps: float, generator: torch.Generator) -> Cache:
        """Encode one clip in 0..1; every tensor's first dimension is N = 1."""
        ...


class ImageClipEncoder:
    """For image-to-video models.

    Args:
        pipeline: a `StableVideoDiffusionPipeline`.
        motion_bucket_id: what the model is told about every clip, 0..255.
    """

    def __init__(self, pipeline: Any, motion_bucket_id: int) -> None:
        self.pipeline, self.motion_bucket_id = pipeline, motion_bucket_id

    def fingerprint(self) -> str:
        """See `ClipEncoder`."""
        pipeline, processor = self.pipeline, self.pipeline.feature_extractor
        constants = [processor.image_mean, processor.image_std, self.motion_bucket_id, NOISE_AUG_STRENGTH]
        return _fingerprint({"vae": pipeline.vae, "image_encoder": pipeline.image_encoder}, constants)

    @torch.no_grad()
    def encode(self, frames_F3HW: Tensor, caption: str | None, fps: float, generator: torch.Generator) -> Cache:  # noqa: ARG002
        """Encode a clip and its first frame as SVD is given it.

        Returns:
            latents_NFCHW: scaled latents, float16.
            image_latents_NCHW: unscaled latents of the noise-augmented first frame, float16.
            image_embeds_ND: the image encoder's embedding of the first frame, float16.
            motion_bucket_id_N: int64.
            fps_N: frames per second, float32.
        """
        first = frames_F3HW[:1] * 2 - 1
        noisy = first + NOISE_AUG_STRENGTH * torch.randn(first.shape, generator=generator)
        return {
            "latents_NFCHW": _latents(self.pipeline.vae, frames_F3HW),
            "image_latents_NCHW": latent_modes(self.pipeline.vae, noisy).half(),
            "image_embeds_ND": self._embed(frames_F3HW[0]),
            "motion_bucket_id_N": torch.tensor([self.motion_bucket_id]),
            "fps_N": torch.tensor([float(fps)]),
        }

    def _embed(self, frame_3HW: Tensor) -> Tensor:
        """[1, D], through the method that a generation itself goes through: its resizing is SVD's own."""
        pipeline = self.pipeline
        embeds: Tensor = pipeline._encode_image(to_picture(frame_3HW), pipeline.device, 1, False)
        return embeds[:, 0].half().cpu()


class TextClipEncoder:
    """For text-to-video models.

    Args:
        pipeline: of a text-to-video family.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def fingerprint(self) -> str:
        """See `ClipEncoder`."""
        pipeline = self.pipeline
        constants = [
            pipeline.tokenizer.get_vocab(),
            pipeline.tokenizer.model_max_length,
            pipeline.config.get("clip_skip"),
        ]
        return _fingerprint({"vae": pipeline.vae, "text_encoder": pipeline.text_encoder}, constants)

    @torch.no_grad()
    def encode(self, frames_F3HW: Tensor, caption: str | None, fps: float, generator: torch.Generator) -> Cache:  # noqa: ARG002
        """Encode a clip and its caption, cut to the tokenizer's length.

        Returns:
            latents_NFCHW: scaled latents, float16.
            weight_NFHW: ones, float16: nothing is known of what counts more.
            tokens_NL: token ids, int64.
            features_NLD: the text encoder's features, float32.
            fps_N: frames per second, float32.

        Raises:
            ValueError: when there is no caption.
        """
        if caption is None:
            raise ValueError("a text-to-video model learns from captioned videos; leave out those without a caption")
        latents = _latents(self.pipeline.vae, frames_F3HW)
        features = text_family(self.pipeline).encode_prompts(self.pipeline, [caption])
        return {
            "latents_NFCHW": latents,
            "weight_NFHW": torch.ones_like(latents[:, :, 0]),
            "tokens_NL": tokenize(self.pipeline.tokenizer, [caption]),
            "features_NLD": features.float().cpu(),
            "fps_N": torch.tensor([float(fps)]),
        }


def _latents(vae: Any, frames_F3HW: Tensor) -> Tensor:
    scaled: Tensor = latent_modes(vae, frames_F3HW * 2 - 1) * vae.config.scaling_factor
    return scaled.half()[None]


def _fingerprint(modules: dict[str, nn.Module], constants: Any) -> str:
    """Hex sha256 over weights, as loaded, and constants."""
    digest = hashlib.sha256(json.dumps(constants, sort_keys=True).encode())
    for name, module in sorted(modules.items()):
        digest.update(str(getattr(module.config, "scaling_factor", "")).encode())
        for key, value in sorted(module.state_dict().items()):
            if not key.startswith(DECODING):
                digest.update(f"{name}.{key} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
