"""What a compression of a VAE's decoder is told: the `decoder` section of a recipe."""

from pathlib import Path

from pydantic import Field

from vdmini.manifest import Record


class DecoderSettings(Record):
    """How a decoder is compressed."""

    latency: float = Field(default=0.3, gt=0, lt=1, description="decode time to reach, as a share of the original's")
    layers: tuple[str, ...] | None = Field(
        default=None, description="layers to take out, by their names in the decoder; chosen by their worth by default"
    )
    multiple: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="widths are multiples of it; by default 32 on a GPU and 16 (a vector register) on a CPU",
    )
    window: int | None = Field(
        default=None,
        ge=8,
        le=1024,
        description="videos: height and width, in latents, of the part of a picture that a training clip shows; whole "
        "pictures if silent, which at full size no GPU holds the gradients of",
    )
    frames: int | None = Field(
        default=None, ge=3, le=256, description="videos: frames of a training clip; those of a chunk if silent"
    )
    clips: int = Field(default=400, ge=4, le=100_000, description="clips filmed once and drawn from")
    steps: int = Field(default=1500, ge=0, le=10_000_000, description="optimizer steps of healing")
    batch_size: int = Field(default=1, ge=1, le=4096, description="clips per batch")
    shards: int = Field(default=2, ge=1, le=64, description="batches per step, computed side by side, a thread each")
    learning_rate: float = Field(default=5e-4, gt=0, le=1, description="peak learning rate of the decoder")
    warmup: int = Field(default=30, ge=1, description="steps of linear warm-up")
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="decay per step of the weights that are kept")
    lambda_true: float = Field(default=1.0, ge=0, description="weight of the error against the true clip")
    lambda_original: float = Field(default=1.0, ge=0, description="weight of the error against the original decoder's")
    lambda_perceptual: float = Field(default=0.1, ge=0, description="weight of the distance between features")
    lambda_temporal: float = Field(default=1.0, ge=0, description="weight of the error of changes between frames")
    lambda_adversarial: float = Field(default=0.01, ge=0, description="weight of the adversarial loss")
    adversarial_after: float = Field(
        default=0.5, ge=0, le=1, description="share of the steps after which the adversarial loss counts"
    )
    discriminator_learning_rate: float = Field(default=2e-4, gt=0, le=1, description="peak learning rate of it")
    perceptual: Path | None = Field(
        default=None,
        description="weights of VGG16 or of LPIPS on it (.safetensors, .pth); the frozen VAE encoder by default",
    )
    taken_from: Path | None = Field(
        default=None,
        description="an artifact of the same teacher whose decoder is compressed already: it is taken over and "
        "measured, and nothing else here but `held_out` and `runs` counts",
    )
    perceptual_frames: int = Field(default=1, ge=1, description="frames of each clip whose features are compared")
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")
    held_out: int = Field(default=32, ge=4, le=10_000, description="held-out clips that it is measured on")
    runs: int = Field(default=20, ge=20, le=10_000, description="timed pairs of original and compressed decoder")
