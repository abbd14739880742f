"""What a client may ask for. What a loaded model can do beyond that is checked in `api.admission`."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.record import Record

Task = Literal["i2v", "t2v"]

MAX_URL_CHARACTERS = 2048

MAX_SEED = 2**53 - 1
"""The largest integer that every JSON client carries without rounding."""


EXAMPLE_PROMPT = "a red circle moving right slowly on a gray background"
"""A sentence that the small text-to-video model can read."""


class GenerationFields(Record):
    """The fields that both tasks share; whatever is left out gets the model's default."""

    variant: str = Field(
        default="vdmini",
        max_length=64,
        description="`vdmini` (compressed), `teacher` (uncompressed baseline) or the name of a loaded model",
    )
    width: int | None = Field(default=None, ge=1, le=16384, description="pixels; see the model's `limits.sizes`")
    height: int | None = Field(default=None, ge=1, le=16384, description="pixels; see the model's `limits.sizes`")
    num_frames: int | None = Field(default=None, ge=1, description="length of the clip in frames")
    fps: int | None = Field(default=None, ge=1, description="frames per second, of the file and as a condition")
    num_inference_steps: int | None = Field(default=None, ge=1, description="denoising steps")
    guidance_scale: float | None = Field(default=None, ge=1, le=30, description="1 means no guidance")
    quality: Literal["draft", "balanced", "reference"] | None = Field(
        default=None,
        description="instead of `variant` and `num_inference_steps`: `draft` is a compressed model in its fewest "
        "steps, `balanced` in its usual ones, `reference` the teacher",
    )
    max_latency_seconds: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="instead of `quality`: the best that was measured to take no longer, the queue not counted",
    )
    priority: Lane = Field(default="normal", description="`high` starts before `normal`, `normal` before `low`")
    max_queue_seconds: float | None = Field(
        default=None,
        gt=0,
        le=604_800,
        description="longest wait for a start: a longer one that can be foreseen is refused, any other fails the job",
    )
    seed: int | None = Field(
        default=None, ge=0, le=MAX_SEED, description="of all randomness; drawn and reported when left out"
    )
    webhook_url: str | None = Field(
        default=None,
        max_length=MAX_URL_CHARACTERS,
        description="https URL that gets the job as JSON by POST when it has reached its last state, signed as "
        "Standard Webhooks says, at least once; only where the service has secrets to sign with",
    )


class ImageToVideoRequest(GenerationFields):
    """Animate an image."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["image"]}, {"required": ["image_url"]}]})

    image_url: Annotated[str | None, WithJsonSchema({"type": "string", "format": "uri"})] = Field(
        default=None,
        max_length=MAX_URL_CHARACTERS,
        description="https URL of the image, instead of image; only where the service allows it",
    )
    image: Annotated[bytes | None, WithJsonSchema({"type": "string", "format": "binary"})] = Field(
        default=None,
        validate_default=True,
        description="PNG, JPEG or WebP: a file part in a form, base64 in JSON. Its orientation is applied, its "
        "metadata dropped, transparency laid over white; it is then cropped around the centre and resized to the clip. "
        "Either it or image_url is needed",
    )
    motion_bucket_id: int | None = Field(default=None, ge=0, le=255, description="amount of motion")
    noise_aug_strength: float | None = Field(default=None, ge=0, le=1, description="noise added to the image")

    @field_validator("image")
    @classmethod
    def _one_picture(cls, image: bytes | None, others: ValidationInfo) -> bytes | None:
        if "image_url" not in others.data:  # it is wrong by itself, and that is said
            return image
        if image is None and others.data["image_url"] is None:
            raise PydanticKnownError("missing")
        if image is not None and others.data["image_url"] is not None:
            raise PydanticCustomError("two_pictures", "image and image_url are both given; give one of them")
        return image


class TextToVideoRequest(GenerationFields):
    """Make a clip from a sentence."""

    prompt: str = Field(min_length=1, description="what the clip shows", examples=[EXAMPLE_PROMPT])


class JobSpec(Record):
    """A request with every default filled in: what exactly the worker runs."""

    task: Task = Field(description="i2v or t2v")
    model: str = Field(description="name of the loaded model that runs it")
    variant: Literal["vdmini", "teacher"] = Field(description="whether that model is compressed")
    prompt: str | None = Field(default=None, description="text-to-video: the sentence")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    num_frames: int = Field(description="frames")
    fps: int = Field(description="frames per second")
    num_inference_steps: int = Field(description="denoising steps")
    guidance_scale: float = Field(description="1 means no guidance")
    motion_bucket_id: int = Field(description="image-to-video: amount of motion")
    noise_aug_strength: float = Field(description="image-to-video: noise added to the image")
    seed: int = Field(description="the seed that was used")

    @property
    def size(self) -> str:
        """Width x height x frames: what latency depends on, as one metrics label."""
        return size_label(self.width, self.height, self.num_frames)


def size_label(width: int, height: int, num_frames: int) -> str:
    """A clip's size as a label of metrics."""
    return f"{width}x{height}x{num_frames}"
