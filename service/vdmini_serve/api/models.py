"""`/v1/models`: what is loaded, what it can do, and its receipt."""

from fastapi import APIRouter

from vdmini_serve.api import openapi
from vdmini_serve.api.access import CallerDep
from vdmini_serve.api.offer import ModelOffer, offer_of
from vdmini_serve.api.state import Service, ServiceDep
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The loaded models", responses=openapi.MODELS)
async def list_models(service: ServiceDep, _: CallerDep) -> list[ModelOffer]:
    """With limits, defaults, budgets, and what was measured when they were made and here."""
    expectations = await service.expectations.get()
    models = (await service.store.models()).values()
    return [offer_of(model, service.settings, expectations) for model in models]


@router.get("/{name}", summary="One model", responses=openapi.MODEL)
async def get_model(name: openapi.ModelName, service: ServiceDep, _: CallerDep) -> ModelOffer:
    """With limits, defaults, budgets, and what was measured when it was made and here."""
    model = await model_of(name, service)
    return offer_of(model, service.settings, await service.expectations.get())


async def model_of(name: str, service: Service) -> ModelDescriptor:
    """A loaded model.

    Raises:
        ProblemError: when none of this name is loaded.
    """
    models = await service.store.models()
    if name not in models:
        detail = f"no model {name[:64]!r} is loaded; loaded are {', '.join(models) or 'none'}"
        raise ProblemError(ProblemKind.UNKNOWN_MODEL, detail)
    return models[name]
