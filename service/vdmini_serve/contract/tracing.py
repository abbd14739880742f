"""Tracing with OpenTelemetry, where it is switched on; else a client's `traceparent` is only handed on (W3C).

A trace goes with its job through Redis, not with the broker's message: a job that is published again keeps it. Spans
hold what metrics' labels hold, and ids; no prompt, picture, key or address.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from vdmini_serve.contract.settings import Settings

_TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
SECOND_NS = 10**9

Attributes = Mapping[str, str | int | float]


class TracingError(Exception):
    """Tracing is switched on and cannot be; the message says what to do."""


class Span(Protocol):
    """A piece of work."""

    @property
    def traceparent(self) -> str | None:
        """What names it to others; None when nobody traces."""

    def rename(self, name: str, attributes: Attributes) -> None:
        """Say what it was, once that is known."""

    def parts(self, started_at: float, seconds: Sequence[tuple[str, float]]) -> None:
        """Note what it consisted of, one after the other.

        Args:
            started_at: Unix time of the first part.
            seconds: name and length of each.
        """


class Tracer(Protocol):
    """Makes spans."""

    def span(self, name: str, parent: str | None, attributes: Attributes) -> Any:
        """A context manager that gives a `Span`; any thread may end it."""

    def close(self) -> None:
        """Send what is not sent yet."""


def accepted(traceparent: str | None) -> str | None:
    """A client's `traceparent`, when it is one."""
    return traceparent if traceparent and _TRACEPARENT.match(traceparent) else None


def open_tracer(settings: Settings, part: str) -> Tracer:
    """The tracer of a process.

    Args:
        settings: whether to trace; where to, the `OTEL_EXPORTER_OTLP_...` variables say.
        part: `api` or `worker`.

    Raises:
        TracingError: when OpenTelemetry is not installed.
    """
    if not settings.tracing:
        return HandsOn()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingError(
            f"VDMINI_TRACING is on, but {error.name} is missing: pip install 'vdmini[tracing]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": f"vdmini-{part}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class HandsOn:
    """Traces nothing and hands on the trace of others."""

    @contextmanager
    def span(self, _name: str, parent: str | None, _attributes: Attributes) -> Iterator[Span]:
        """A span that is its parent."""
        yield _Given(parent)

    def close(self) -> None:
        """Nothing is left to send."""


class _Given:
    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def rename(self, name: str, attributes: Attributes) -> None:
        """Nobody is told."""

    def parts(self, started_at: float, seconds: Sequence[tuple[str, float]]) -> None:
        """Nobody is told."""


class Traces:
    """Makes spans of OpenTelemetry.

    Args:
        provider: an `opentelemetry.sdk.trace.TracerProvider`.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("vdmini_serve")

    @contextmanager
    def span(self, name: str, parent: str | None, attributes: Attributes) -> Iterator[Span]:
        """A span below `parent`. It is not made the thread's current one, so that another thread may end it."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({"traceparent": parent} if parent else {})
        span = self._tracer.start_span(name, context=context, attributes=dict(attributes))
        try:
            yield _Traced(span, self._tracer)
        except BaseException as error:
            from opentelemetry.trace import Status, StatusCode

            span.set_status(Status(StatusCode.ERROR, type(error).__name__))  # its text may hold a prompt
            raise
        finally:
            span.end()

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()


class _Traced:
    def __init__(self, span: Any, tracer: Any) -> None:
        self._span, self._tracer = span, tracer

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def rename(self, name: str, attributes: Attributes) -> None:
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))

    def parts(self, started_at: float, seconds: Sequence[tuple[str, float]]) -> None:
        from opentelemetry.trace import set_span_in_context

        context, at = set_span_in_context(self._span), started_at
        for name, length in seconds:
            part = self._tracer.start_span(name, context=context, start_time=int(at * SECOND_NS))
            at += length
            part.end(int(at * SECOND_NS))
