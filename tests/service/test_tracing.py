"""A trace goes from a request through its job to its webhook, with OpenTelemetry and without."""

from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis
from starlette.testclient import TestClient

from vdmini_serve.api import app as module
from vdmini_serve.contract import keys
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.tracing import HandsOn, Traces, accepted, open_tracer
from vdmini_serve.worker.runner import Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
BODY = {"prompt": "a red circle with a secret"}
HEADERS = {"Prefer": "respond-async", "traceparent": PARENT}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Iterator[Traces]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = Traces(provider)
    yield made
    made.close()


@pytest.fixture
def traced(serve_api: Callable[..., TestClient], tracer: Traces, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(module, "open_tracer", lambda *_: tracer)
    return serve_api()


def noted(redis_url: str, job_id: str) -> str:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        return str(redis.hget(keys.job_key(job_id), "traceparent"))


def test_a_job_belongs_to_the_trace_of_its_request_and_its_stages_to_it(
    traced: TestClient, tracer: Traces, spans: InMemorySpanExporter, redis_url: str, artifact_folders, tmp_path
) -> None:
    job = traced.post("/v1/t2v", json=BODY, headers=HEADERS).json()["id"]
    settings = Settings(
        jobs_url=redis_url,
        data_dir=tmp_path,
        artifacts=tuple(path for path in artifact_folders if path.parts[-2:] == ("artifacts", "small-t2v")),
        device="cpu",
    )
    settings.results_dir.mkdir()
    with Redis.from_url(redis_url) as redis:
        Runner(settings, WorkerStore(redis, settings, "w"), load(settings), tracer=tracer).run(job)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {"POST /v1/t2v", "job", "encode", "denoise", "decode", "mp4"}
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert found["job"].parent.span_id == found["POST /v1/t2v"].context.span_id
    for stage in ("encode", "denoise", "decode", "mp4"):
        assert found[stage].parent.span_id == found["job"].context.span_id
    assert found["encode"].end_time <= found["denoise"].start_time + 1000
    assert found["job"].attributes["vdmini.job"] == job
    assert found["POST /v1/t2v"].attributes["http.response.status_code"] == 202
    assert "secret" not in "".join(span.to_json() for span in found.values())


def test_a_failure_is_told_by_its_kind_and_not_by_its_text(tracer: Traces, spans: InMemorySpanExporter) -> None:
    with pytest.raises(RuntimeError), tracer.span("job", None, {}):
        raise RuntimeError("a secret")
    (span,) = spans.get_finished_spans()
    assert (span.status.description, "secret" in span.to_json()) == ("RuntimeError", False)


def test_probes_and_unknown_routes_tell_nothing_of_their_paths(traced: TestClient, spans: InMemorySpanExporter) -> None:
    traced.get("/livez")
    traced.get("/nothing/secret")
    assert [span.name for span in spans.get_finished_spans()] == ["GET unknown"]


def test_without_tracing_the_clients_trace_is_handed_on(serve_api: Callable[..., TestClient], redis_url: str) -> None:
    client = serve_api()
    job = client.post("/v1/t2v", json=BODY, headers=HEADERS).json()["id"]
    assert noted(redis_url, job) == PARENT
    broken = client.post("/v1/t2v", json=BODY, headers=HEADERS | {"traceparent": "00-secret"}).json()["id"]
    assert noted(redis_url, broken) == ""


@pytest.mark.parametrize(
    "text", [None, "", "00-0-0-01", f"00-{'0' * 32}-00f067aa0ba902b7-01", PARENT + "\n", PARENT.upper()]
)
def test_what_is_no_traceparent_is_not_handed_on(text: str | None) -> None:
    assert accepted(text) is None
    assert accepted(PARENT) == PARENT


def test_tracing_is_off_unless_it_is_switched_on() -> None:
    assert isinstance(open_tracer(Settings(), "api"), HandsOn)
    on = open_tracer(Settings(tracing=True), "api")
    assert isinstance(on, Traces)
    on.close()
