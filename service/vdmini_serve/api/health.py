"""`/livez`, `/readyz` and `/metrics`."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from vdmini_serve.api import openapi
from vdmini_serve.api.exposition import render
from vdmini_serve.api.readiness import readiness
from vdmini_serve.api.state import ServiceDep

router = APIRouter(tags=["operations"])


@router.get("/livez", summary="Whether the API runs", responses=openapi.ALIVE)
async def livez() -> dict[str, str]:
    """Says nothing about Redis and workers: restarting the API would not help those."""
    return {"status": "alive"}


@router.get("/readyz", summary="Whether jobs are taken and run", responses=openapi.READY)
async def readyz(service: ServiceDep) -> Response:
    """200 when Redis answers, a worker with loaded models takes jobs, and there is room for clips."""
    found = await readiness(service.store, service.results)
    headers = {} if found.ready else {"Retry-After": "2"}
    return JSONResponse(found.model_dump(mode="json"), status_code=200 if found.ready else 503, headers=headers)


@router.get("/metrics", summary="Prometheus metrics", responses=openapi.METRICS, response_class=Response)
async def metrics(service: ServiceDep) -> Response:
    """The same numbers from each replica: scrape one address. Without Redis it says just that, in `vdmini_redis_up`."""
    return Response(await render(service), media_type=CONTENT_TYPE_LATEST)
