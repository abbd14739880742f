"""One log line for each request, and its id: the client's `X-Request-ID`, else one of ours."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vdmini_serve.contract.logs import about

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
JOB_HEADER = "X-VDMini-Job"
PROBES = ("/livez", "/readyz", "/metrics")
"""Routes that machines ask all the time; their lines are for debugging."""

_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


class RequestLog:
    """ASGI middleware.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and log it; other kinds of connection pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ID.match(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id  # for what is answered outside, after a bug
        answered: dict[str, object] = {}

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                answered.update(status=message["status"], job_id=headers.get(JOB_HEADER))
            await send(message)

        started = time.perf_counter()
        with about(request_id=request_id):
            try:
                await self.app(scope, receive, send_noted)
            finally:
                _write(scope, answered, time.perf_counter() - started)


def _write(scope: Scope, answered: dict[str, object], seconds: float) -> None:
    """The route's template, never the path: an unknown one may hold anything."""
    route = getattr(scope.get("route"), "path", None)
    job_id = scope.get("path_params", {}).get("job_id") or answered.get("job_id")
    fields = {
        "method": scope["method"][:16],
        "route": route,
        "status": answered.get("status", 500),
        "seconds": round(seconds, 4),
        "job_id": str(job_id)[:64] if job_id else None,
    }
    log.log(logging.DEBUG if route in PROBES else logging.INFO, "request", extra=fields)
