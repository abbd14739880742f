"""A model as clients see it: its descriptor, what one request may ask of it, and what it takes here."""

from pydantic import Field

from vdmini_serve.api.expectations import Expectations
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import EXAMPLE_PROMPT, JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.ticket import cost_of


class Budgets(Record):
    """Bounds of one request beside the model's own `limits`."""

    max_upload_bytes: int = Field(description="largest image file")
    max_image_pixels: int = Field(description="largest image, width x height; it is resized to the clip")
    max_prompt_characters: int = Field(description="longest prompt")
    max_cost: int = Field(description="most frames x pixels x steps that the limits allow together")
    max_queue_seconds: float = Field(description="longest wait for a start when the request doesn't say")


class ModelOffer(ModelDescriptor):
    """A loaded model with its receipt, and what it is good for here."""

    budgets: Budgets = Field(description="what one request may ask for")
    expected_seconds: float | None = Field(
        description="encode + denoise + decode with the defaults, as measured here; null when it was not measured"
    )


def offer_of(model: ModelDescriptor, settings: Settings, expectations: Expectations) -> ModelOffer:
    """What a service offers of a model."""
    return ModelOffer(
        **dict(model),
        budgets=Budgets(
            max_upload_bytes=settings.max_upload_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_prompt_characters=settings.max_prompt_characters,
            max_cost=_most(model),
            max_queue_seconds=settings.max_queue_seconds,
        ),
        expected_seconds=expectations.seconds(_usual(model), model),
    )


def _usual(model: ModelDescriptor) -> JobSpec:
    prompt = EXAMPLE_PROMPT if model.task == "t2v" else None
    return JobSpec(
        task=model.task, model=model.name, variant=model.variant, prompt=prompt, seed=0, **dict(model.defaults)
    )


def _most(model: ModelDescriptor) -> int:
    limits = model.limits
    width, height = max(limits.sizes, key=lambda size: size[0] * size[1])
    largest = {"width": width, "height": height, "num_frames": limits.max_num_frames}
    return cost_of(_usual(model).model_copy(update={**largest, "num_inference_steps": max(limits.num_inference_steps)}))
