"""A span for each request, and the trace that its job goes on with."""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vdmini_serve.api.request_log import PROBES
from vdmini_serve.contract.tracing import Tracer, accepted


class RequestTrace:
    """ASGI middleware.

    Args:
        app: what answers.
        tracer: makes the spans.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app, self.tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request inside a span; probes and other kinds of connection pass."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        status = 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = accepted(Headers(scope=scope).get("traceparent"))
        with self.tracer.span("request", parent, {"http.request.method": scope["method"][:16]}) as span:
            scope.setdefault("state", {})["traceparent"] = span.traceparent
            try:
                await self.app(scope, receive, send_noted)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                attributes = {"http.route": route, "http.response.status_code": status}
                span.rename(f"{scope['method'][:16]} {route}", attributes)


def traceparent_of(request: Request) -> str | None:
    """What a request's job goes on with; None when nobody traces."""
    found: str | None = getattr(request.state, "traceparent", None)
    return found
