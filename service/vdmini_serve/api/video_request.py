"""Requests in the shape that other video servers use, turned into our own. Limits: `api.admission`."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from starlette.requests import Request

from vdmini_serve.api.admission import checked
from vdmini_serve.api.intake import decode_base64, read_fields
from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import FieldProblem, ProblemError, ProblemKind
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import (
    EXAMPLE_PROMPT,
    MAX_SEED,
    MAX_URL_CHARACTERS,
    ImageToVideoRequest,
    Task,
    TextToVideoRequest,
)

FRAME_TOLERANCE = 0.02
"""Of a frame: answers tell seconds to the millisecond, and may be sent again."""

SHARED_FIELDS = (
    *("num_inference_steps", "guidance_scale", "seed", "motion_bucket_id", "noise_aug_strength"),
    *("priority", "max_queue_seconds", "webhook_url"),
)
"""What both shapes call the same."""

_DECIMAL = r"^\d{1,4}(\.\d{1,9})?$"


def _number(value: object) -> object:
    """Clients of this shape send seconds as text, also in JSON."""
    return float(value) if isinstance(value, str) and re.match(_DECIMAL, value) else value


_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
        {"type": "string", "pattern": _DECIMAL},
        {"type": "null"},
    ]
}


class VideoRequest(Record):
    """Make a clip from a sentence, or animate an image when `input_reference` is there."""

    model: str = Field(
        default="vdmini",
        max_length=64,
        description="`vdmini` (compressed), `teacher` (uncompressed baseline) or the name of a loaded model",
    )
    prompt: str | None = Field(
        default=None,
        min_length=1,
        description="what the clip shows. Beside an input_reference it is accepted and not read, since image-to-video "
        "models see the image alone; the answer then says `X-VDMini-Ignored: prompt`",
        examples=[EXAMPLE_PROMPT],
    )
    input_reference: bytes | None = Field(
        default=None, description="PNG, JPEG or WebP to animate: a file part in a form, base64 or a data URL in JSON"
    )
    seconds: Annotated[float | None, BeforeValidator(_number), WithJsonSchema(_SECONDS_SCHEMA)] = Field(
        default=None,
        gt=0,
        le=3600,
        description="length of the clip, as a number or as text; with fps (or the model's own) it says how many "
        "frames, with num_frames how many of them a second",
    )
    size: str | None = Field(
        default=None,
        pattern=r"^[1-9]\d{0,3}x[1-9]\d{0,3}$",
        description="width x height in pixels, such as 1024x576; see the model's `limits.sizes`",
    )
    num_frames: int | None = Field(default=None, ge=1, le=100_000, description="length of the clip in frames")
    fps: int | None = Field(default=None, ge=1, le=1000, description="frames per second")
    num_inference_steps: int | None = Field(default=None, ge=1, description="denoising steps")
    guidance_scale: float | None = Field(default=None, ge=1, le=30, description="1 means no guidance")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="drawn and reported when left out")
    motion_bucket_id: int | None = Field(default=None, ge=0, le=255, description="amount of motion; with an image only")
    noise_aug_strength: float | None = Field(
        default=None, ge=0, le=1, description="noise added to the image; with an image only"
    )

    priority: Lane = Field(default="normal", description="`high` starts before `normal`, `normal` before `low`")
    max_queue_seconds: float | None = Field(
        default=None, gt=0, le=604_800, description="longest wait for a start; a job that waits longer fails"
    )
    webhook_url: str | None = Field(
        default=None,
        max_length=MAX_URL_CHARACTERS,
        description="https URL that gets the job as JSON by POST when it has reached its last state, signed",
    )

    @property
    def task(self) -> Task:
        """What is asked for."""
        return "t2v" if self.input_reference is None else "i2v"


async def read_video_request(request: Request, max_upload_bytes: int) -> VideoRequest:
    """Read a body and check its fields by themselves.

    Raises:
        ProblemError: for a body that cannot be read, or naming every wrong field.
    """
    fields = await read_fields(request, max_upload_bytes)
    values = dict(fields.values)
    image = values.get("input_reference")
    if fields.typed and image is not None:
        values["input_reference"] = decode_base64(image, name="input_reference")
    elif isinstance(image, str):
        detail = "input_reference is a text field; send it as a file part of the form"
        raise ProblemError(ProblemKind.INVALID_FIELD, detail)
    return checked(VideoRequest, values, typed=fields.typed)


def translate(asked: VideoRequest, model: ModelDescriptor) -> ImageToVideoRequest | TextToVideoRequest:
    """The same request in our own shape.

    Raises:
        ProblemError: for a size, a length or a field that makes no sense for this model.
    """
    values: dict[str, Any] = asked.model_dump(include=set(SHARED_FIELDS), exclude_none=True)
    values |= {"variant": asked.model, **_size(asked, model), **_length(asked, model)}
    if asked.input_reference is not None:
        return ImageToVideoRequest(image=asked.input_reference, **values)
    if asked.prompt is None:
        detail = "neither prompt nor input_reference is given; say what the clip shows, or send an image to animate"
        raise _wrong(ProblemKind.MISSING_FIELD, "prompt", detail)
    for name in ("motion_bucket_id", "noise_aug_strength"):
        if name in values:
            detail = f"{name} is for image-to-video; leave it out, or send an input_reference"
            raise _wrong(ProblemKind.UNKNOWN_FIELD, name, detail)
    return TextToVideoRequest(prompt=asked.prompt, **values)


def _size(asked: VideoRequest, model: ModelDescriptor) -> dict[str, int]:
    if asked.size is None:
        return {}
    width, height = map(int, asked.size.split("x"))
    if (width, height) not in model.limits.sizes:
        allowed = ", ".join(f"{wide}x{high}" for wide, high in model.limits.sizes)
        detail = f"size is {asked.size}; {model.name} allows {allowed}"
        raise _wrong(ProblemKind.OUTSIDE_LIMITS, "size", detail)
    return {"width": width, "height": height}


def _length(asked: VideoRequest, model: ModelDescriptor) -> dict[str, int]:
    """Frames and frames per second, as far as the client said anything about them."""
    given = {name: value for name in ("num_frames", "fps") if (value := getattr(asked, name)) is not None}
    if asked.seconds is None:
        return given
    if asked.num_frames is not None and asked.fps is None:
        rate = _whole(asked.num_frames / asked.seconds)
        if rate is None:
            detail = f"{asked.num_frames} frames in {asked.seconds:g} seconds are no whole number of frames a second"
            raise _wrong(ProblemKind.INVALID_FIELD, "seconds", f"{detail}; give two of seconds, num_frames and fps")
        return {"num_frames": asked.num_frames, "fps": rate}
    fps = asked.fps or model.defaults.fps
    frames = _whole(asked.seconds * fps)
    allowed = range(model.limits.min_num_frames, model.limits.max_num_frames + 1)
    if frames is None or frames not in allowed:
        detail = (
            f"seconds is {asked.seconds:g}, which at {fps} frames a second is {asked.seconds * fps:g} frames; "
            f"{model.name} makes {allowed[0]} to {allowed[-1]}, that is {_span(allowed, fps)} s; give another length, "
            f"or another fps ({model.limits.min_fps} to {model.limits.max_fps})"
        )
        raise _wrong(ProblemKind.OUTSIDE_LIMITS, "seconds", detail)
    if asked.num_frames not in (None, frames):
        detail = (
            f"{asked.num_frames} frames at {fps} a second do not last {asked.seconds:g} seconds; leave one of them out"
        )
        raise _wrong(ProblemKind.INVALID_FIELD, "seconds", detail)
    return {"num_frames": frames, "fps": fps}


def _span(frames: range, fps: int) -> str:
    return " to ".join(dict.fromkeys(f"{round(count / fps, 3):g}" for count in (frames[0], frames[-1])))


def _whole(number: float) -> int | None:
    nearest = round(number)
    return nearest if nearest >= 1 and abs(number - nearest) < FRAME_TOLERANCE else None


def _wrong(kind: ProblemKind, field: str, detail: str) -> ProblemError:
    return ProblemError(kind, detail, errors=(FieldProblem(field=field, detail=detail),))
