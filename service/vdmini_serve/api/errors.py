"""Every error as `application/problem+json`, counted by its kind."""

import logging
from http import HTTPStatus
from typing import Any

from celery.exceptions import CeleryError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from vdmini_serve.api.request_log import HEADER as REQUEST_ID_HEADER
from vdmini_serve.api.state import service_of
from vdmini_serve.contract.problem import MEDIA_TYPE, FieldProblem, Problem, ProblemError, ProblemKind, problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

log = logging.getLogger(__name__)


def answer(what: Problem, headers: dict[str, str] | None = None) -> Response:
    """A problem as an HTTP answer."""
    body = what.model_dump_json(exclude_none=True, exclude_defaults=True)
    return Response(body, status_code=what.status, media_type=MEDIA_TYPE, headers=headers)


async def _count(request: Request, kind: ProblemKind) -> None:
    try:
        await service_of(request).store.count_rejection(kind)
    except RedisError as error:
        log.warning("a refused request was not counted: %s", error)


async def _on_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    await _count(request, error.problem.kind)
    return answer(error.problem, error.headers)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    method, path = request.method[:20], request.url.path[:200]
    if error.status_code == HTTPStatus.NOT_FOUND:
        found = problem(ProblemKind.UNKNOWN_ROUTE, f"there is nothing at {path!r}; GET /docs lists what there is")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error.headers = {"Allow": _allowed(request)}
        detail = f"{method} is not possible at {path!r}; allowed: {error.headers['Allow']}"
        found = problem(ProblemKind.METHOD_NOT_ALLOWED, detail)
    else:
        kind = ProblemKind.BAD_REQUEST if error.status_code < 500 else ProblemKind.INTERNAL_ERROR
        found = problem(kind, str(error.detail))
    await _count(request, found.kind)
    return answer(found, dict(error.headers or {}))


def _allowed(request: Request) -> str:
    """All methods of a path: the router itself names those of one route."""
    tried = {method: {**request.scope, "method": method} for method in METHODS}
    routes = request.app.routes
    return ", ".join(
        method for method, scope in tried.items() if any(each.matches(scope)[0] is Match.FULL for each in routes)
    )


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Wrong query parameters, the only thing that the framework itself validates here."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems = tuple(_parameter(each) for each in error.errors())
    await _count(request, ProblemKind.INVALID_FIELD)
    detail = "; ".join(each.detail for each in problems)
    return answer(problem(ProblemKind.INVALID_FIELD, detail, errors=problems))


def _parameter(error: dict[str, Any]) -> FieldProblem:
    name = str(error["loc"][-1])[:80]
    return FieldProblem(field=name, detail=f"{name}: {error['msg']}, got {str(error.get('input'))[:80]!r}")


async def _on_store(_request: Request, error: Exception) -> Response:
    log.error("Redis failed: %s", error)
    found = problem(ProblemKind.STORE_UNAVAILABLE, "the job store cannot be reached; try again in a moment")
    return answer(found, {"Retry-After": "5"})


async def _on_disconnect(request: Request, _error: Exception) -> Response:
    """Nobody reads this answer; it is no fault of ours, so the log needs no traceback."""
    log.info("the client of %s left before its body was there", request.url.path)
    return answer(problem(ProblemKind.BAD_REQUEST, "the connection was closed before the whole body was there"))


async def _on_bug(request: Request, error: Exception) -> Response:
    request_id = getattr(request.state, "request_id", "")
    log.error("a request failed", exc_info=error, extra={"method": request.method[:20], "request_id": request_id})
    found = problem(ProblemKind.INTERNAL_ERROR, "the service failed; its log has the traceback beside X-Request-ID")
    return answer(found, {REQUEST_ID_HEADER: request_id})


def install(app: FastAPI) -> None:
    """Make an application answer errors as problems."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    for kind in (RedisError, OperationalError, CeleryError):
        app.add_exception_handler(kind, _on_store)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)
