"""From what a body said to a job that the model can do. Bodies are read by `api.intake`, pictures by `api.picture`."""

import secrets
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from vdmini_serve.api.intake import Fields, decode_base64
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import FieldProblem, ProblemError, ProblemKind
from vdmini_serve.contract.request import GenerationFields, ImageToVideoRequest, JobSpec, Task, TextToVideoRequest

RequestT = TypeVar("RequestT", ImageToVideoRequest, TextToVideoRequest)

SECRET_FIELDS = ("prompt", "image", "image_url", "webhook_url")
"""What a client sent in these is not repeated in an answer."""

WORK_FIELDS = frozenset(JobSpec.model_fields) - {"task", "model", "variant", "prompt"}
"""The fields of a request that say what is computed; others say how it is queued, or for whom."""

DRAWN_SEEDS = 2**32


def validate(kind: type[RequestT], fields: Fields) -> RequestT:
    """Check fields by themselves.

    Raises:
        ProblemError: naming every wrong field, what was got and what is allowed.
    """
    values = dict(fields.values)
    if fields.typed and kind is ImageToVideoRequest and values.get("image") is not None:
        values["image"] = decode_base64(values["image"])
    elif kind is ImageToVideoRequest and isinstance(values.get("image"), str):
        raise ProblemError(ProblemKind.INVALID_FIELD, "image is a text field; send it as a file part of the form")
    try:
        return kind.model_validate(values, strict=fields.typed)
    except ValidationError as error:
        raise _as_problem(error, kind) from error


def _as_problem(error: ValidationError, kind: type[GenerationFields]) -> ProblemError:
    allowed = ", ".join(kind.model_fields)
    codes, problems = set(), []
    for each in error.errors(include_url=False, include_context=False)[:10]:
        name = str(each["loc"][0])[:80] if each["loc"] else "body"
        codes.add(each["type"])
        if each["type"] == "extra_forbidden":
            detail = f"unknown field {name!r}; allowed are {allowed}"
        elif each["type"] == "missing":
            detail = f"field {name!r} is missing"
        else:
            detail = f"{name}: {each['msg']}{_got(name, each['input'])}"
        problems.append(FieldProblem(field=name, detail=detail))
    single = {"extra_forbidden": ProblemKind.UNKNOWN_FIELD, "missing": ProblemKind.MISSING_FIELD}
    which = single.get(codes.pop(), ProblemKind.INVALID_FIELD) if len(codes) == 1 else ProblemKind.INVALID_FIELD
    return ProblemError(which, "; ".join(each.detail for each in problems), errors=tuple(problems))


def _got(name: str, value: object) -> str:
    if name in SECRET_FIELDS:
        return f", got a {type(value).__name__}" + (
            f" of length {len(value)}" if isinstance(value, str | bytes) else ""
        )
    text = f"{value!r}" if isinstance(value, int | float | str | None) and not _huge(value) else type(value).__name__
    return f", got {text[:80]}"


def _huge(value: object) -> bool:
    """Python refuses to print integers of more than 4300 digits."""
    return isinstance(value, int) and value.bit_length() > 256


def pick_model(models: Mapping[str, ModelDescriptor], task: Task, variant: str) -> ModelDescriptor:
    """The model that a request's `variant` means.

    Raises:
        ProblemError: when there is none, with those that there are.
    """
    able = {model.name: model for model in models_of(models, task)}
    if variant in able:
        return able[variant]
    for model in able.values():
        if model.variant == variant:
            return model
    allowed = ", ".join([*sorted({model.variant for model in able.values()}, reverse=True), *able])
    raise ProblemError(ProblemKind.UNKNOWN_VARIANT, f"unknown variant {variant!r} for {task}; allowed are {allowed}")


def models_of(models: Mapping[str, ModelDescriptor], task: Task) -> list[ModelDescriptor]:
    """The loaded models of a task.

    Raises:
        ProblemError: when there is none.
    """
    able = [model for model in models.values() if model.task == task]
    if not able:
        detail = f"no model for {task} is loaded; try again in a moment, or see GET /readyz and GET /v1/models"
        raise ProblemError(ProblemKind.NO_MODEL_LOADED, detail, headers={"Retry-After": "5"})
    return able


def admit(request: ImageToVideoRequest | TextToVideoRequest, model: ModelDescriptor, max_characters: int) -> JobSpec:
    """Fill in the model's defaults and check the whole against its limits.

    Raises:
        ProblemError: naming every limit that is exceeded.
    """
    given: dict[str, Any] = request.model_dump(include=set(WORK_FIELDS), exclude_none=True)
    values = {**model.defaults.model_dump(), **given}
    _check_limits(values, model)
    prompt = request.prompt if isinstance(request, TextToVideoRequest) else None
    if prompt is not None:
        _check_prompt(prompt, model, max_characters)
    values.setdefault("seed", secrets.randbelow(DRAWN_SEEDS))
    return JobSpec(task=model.task, model=model.name, variant=model.variant, prompt=prompt, **values)


def _check_limits(values: Mapping[str, Any], model: ModelDescriptor) -> None:
    limits, found = model.limits, []
    if (values["width"], values["height"]) not in limits.sizes:
        sizes = ", ".join(f"{width}x{height}" for width, height in limits.sizes)
        found.append(("width", f"{values['width']}x{values['height']} is no size of {model.name}; allowed are {sizes}"))
    ranges = {
        "num_frames": (limits.min_num_frames, limits.max_num_frames),
        "fps": (limits.min_fps, limits.max_fps),
    }
    for name, (low, high) in ranges.items():
        if not low <= values[name] <= high:
            found.append((name, f"{name} is {_short(values[name])}; {model.name} allows {low} to {high}"))
    if values["num_inference_steps"] not in limits.num_inference_steps:
        steps = ", ".join(map(str, limits.num_inference_steps))
        got = _short(values["num_inference_steps"])
        found.append(("num_inference_steps", f"num_inference_steps is {got}; {model.name} allows {steps}"))
    if found:
        problems = tuple(FieldProblem(field=name, detail=detail) for name, detail in found)
        raise ProblemError(ProblemKind.OUTSIDE_LIMITS, "; ".join(detail for _, detail in found), errors=problems)


def _short(value: int) -> str:
    return "huge" if _huge(value) else str(value)


def _check_prompt(prompt: str, model: ModelDescriptor, max_characters: int) -> None:
    if not prompt.strip():
        raise ProblemError(ProblemKind.INVALID_FIELD, "prompt is empty or only blanks; say what the clip shows")
    if len(prompt) > max_characters:
        detail = f"prompt has {len(prompt)} characters; at most {max_characters} are allowed. Shorten it"
        raise ProblemError(ProblemKind.PROMPT_TOO_LONG, detail)
    allowed, words = model.limits.max_prompt_tokens, len(prompt.split())
    if allowed is not None and words + 2 > allowed:  # each word is a token at least, and start and end count too
        detail = (
            f"prompt has {words} words; {model.name} reads at most {allowed} tokens, start and end included. Shorten it"
        )
        raise ProblemError(ProblemKind.PROMPT_TOO_LONG, detail)
