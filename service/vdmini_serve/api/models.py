"""`/v1/models`: what is loaded, what it can do, and its receipt."""

from fastapi import APIRouter

from vdmini_serve.api import openapi
from vdmini_serve.api.access import CallerDep
from vdmini_serve.api.state import ServiceDep
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The loaded models", responses=openapi.PROBLEMS)
async def list_models(service: ServiceDep, _: CallerDep) -> list[ModelDescriptor]:
    """With limits, defaults, and what was measured when they were made."""
    return list((await service.store.models()).values())


@router.get("/{name}", summary="One model", responses=openapi.PROBLEMS)
async def get_model(name: str, service: ServiceDep, _: CallerDep) -> ModelDescriptor:
    """With limits, defaults, and what was measured when it was made."""
    models = await service.store.models()
    if name not in models:
        detail = f"no model {name[:64]!r} is loaded; loaded are {', '.join(models) or 'none'}"
        raise ProblemError(ProblemKind.UNKNOWN_MODEL, detail)
    return models[name]
