"""`/v1/models/{name}/receipt`: how a model was made, and what it takes here beside its teacher."""

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import Field

from vdmini_serve.api import openapi
from vdmini_serve.api.access import CallerDep
from vdmini_serve.api.models import model_of
from vdmini_serve.api.state import ServiceDep
from vdmini_serve.contract import keys
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.receipt import Receipt
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.samples import SampleKey, Timing

router = APIRouter(prefix="/v1/models", tags=["models"])


class MeasuredHere(Record):
    """Engine seconds (encode, denoise, decode) of one kind of work on one device of this service, medians."""

    device: str = Field(description="device, precision and switches")
    size: str = Field(description="width x height x frames")
    num_inference_steps: int = Field(description="denoising steps")
    guidance: bool = Field(description="whether guidance was on")
    seconds: float = Field(description="of this model")
    runs: int = Field(description="runs behind it, the newest 50 at most")
    measured_at: float = Field(description="Unix time of the newest one")
    teacher_seconds: float | None = Field(description="of its teacher; null when it was not measured, or is itself")
    teacher_runs: int | None = Field(description="runs behind that")


class ModelReceipt(Receipt):
    """How a model was made, and what it takes here."""

    measured_here: tuple[MeasuredHere, ...] = Field(description="one entry for each kind of work that was run")


@router.get("/{name}/receipt", summary="How a model was made", responses=openapi.RECEIPT)
async def get_receipt(name: openapi.ModelName, service: ServiceDep, _: CallerDep) -> ModelReceipt:
    """Recipe, training, U-Net and importance of blocks, as far as its artifact tells; and what runs here took."""
    model = await model_of(name, service)
    text = await service.store.redis.hget(keys.RECEIPTS, name)
    receipt = Receipt.model_validate_json(text) if text else Receipt(name=name)
    timings = (await service.expectations.get()).timings
    return ModelReceipt(**dict(receipt), measured_here=tuple(measured_here(model, timings)))


def measured_here(model: ModelDescriptor, timings: Mapping[SampleKey, Timing]) -> list[MeasuredHere]:
    """What was measured of a model and its teacher, smallest work first."""
    name = "" if model.variant == "teacher" else model.name
    found = [
        _row(key, timing, timings.get(key.of_teacher) if name else None)
        for key, timing in timings.items()
        if (key.task, key.model, key.teacher_sha256) == (model.task, name, model.teacher.sha256)
    ]
    return sorted(found, key=lambda row: (row.device, row.size, row.num_inference_steps, row.guidance))


def _row(key: SampleKey, timing: Timing, teacher: Timing | None) -> MeasuredHere:
    return MeasuredHere(
        device=key.device,
        size=key.size,
        num_inference_steps=key.steps,
        guidance=key.guidance == "on",
        seconds=timing.seconds,
        runs=timing.samples,
        measured_at=timing.measured_at,
        teacher_seconds=teacher.seconds if teacher else None,
        teacher_runs=teacher.samples if teacher else None,
    )
