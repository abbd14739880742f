"""Log lines: what is in them, what never is, and that they are lines."""

import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from vdmini_serve.api import errors
from vdmini_serve.api.request_log import RequestLog
from vdmini_serve.contract.logs import about, configure
from vdmini_serve.contract.settings import Settings

SECRET = "a violet zeppelin"


class Written:
    """What was written to standard error since the last look."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def text(self) -> str:
        return self.capture.readouterr().err

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """Standard error, with no handler of anybody else's."""
    logging.getLogger().handlers = []
    return Written(capsys)


def test_a_line_is_one_json_object_with_its_context_even_with_a_traceback(written):
    configure(Settings(log_format="json"))
    log = logging.getLogger("vdmini_serve.test")
    with about(request_id="r1"):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            log.exception("it %s", "failed", extra={"job_id": "j1"})
    (line,) = written.lines()
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "vdmini_serve.test", "it failed")
    assert (line["request_id"], line["job_id"]) == ("r1", "j1")
    assert "ValueError: two" in line["exception"]
    assert line["time"].endswith("+00:00")


def test_text_has_the_same_fields(written):
    configure(Settings(log_format="text"))
    with about(request_id="r1"):
        logging.getLogger("vdmini_serve.test").info("job", extra={"job_id": "j1", "seconds": None})
    assert written.text().rstrip().endswith("INFO vdmini_serve.test: job job_id=j1 request_id=r1")


def test_libraries_speak_in_the_same_form_and_only_when_something_is_wrong(written):
    configure(Settings(log_format="auto"))
    for name in ("uvicorn.error", "celery.worker", "httpx"):
        logging.getLogger(name).info("hello")
        logging.getLogger(name).warning("careful")
    assert [line["message"] for line in written.lines()] == ["careful"] * 3


def test_the_level_can_be_raised(written):
    configure(Settings(log_format="json", log_level="warning"))
    logging.getLogger("vdmini_serve.test").info("hello")
    assert not written.lines()


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    errors.install(app)
    app.add_middleware(RequestLog)

    @app.get("/v1/things/{job_id}")
    def thing(job_id: str) -> str:
        if job_id == "bad":
            raise RuntimeError("a bug")
        return job_id

    return TestClient(app, raise_server_exceptions=False)


def test_a_request_is_one_line_with_the_routes_template_and_no_query(written, client):
    configure(Settings(log_format="json"))
    response = client.get(
        "/v1/things/j7?prompt=violet", headers={"X-Request-ID": "mine-1", "Authorization": "Bearer k"}
    )
    assert response.headers["x-request-id"] == "mine-1"
    text = written.text()
    line = json.loads(text)
    assert {name: line[name] for name in ("method", "route", "status", "job_id", "request_id")} == {
        "method": "GET", "route": "/v1/things/{job_id}", "status": 200, "job_id": "j7", "request_id": "mine-1",
    }  # fmt: skip
    assert 0 <= line["seconds"] < 5
    assert "violet" not in text
    assert "Bearer" not in text


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'quote"', "line\tbreak"])
def test_an_id_that_could_do_harm_is_replaced(written, client, given):
    answer = client.get("/v1/things/j7", headers={"X-Request-ID": given})
    assert len(answer.headers["x-request-id"]) == 32


def test_a_bug_is_logged_with_the_id_that_the_client_got(written, client):
    configure(Settings(log_format="json"))
    answer = client.get("/v1/things/bad")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:vdmini:problem:internal-error")
    request, traceback = written.lines()
    assert (request["status"], request["request_id"]) == (500, answer.headers["x-request-id"])
    assert (traceback["request_id"], "a bug" in traceback["exception"]) == (answer.headers["x-request-id"], True)


def test_a_served_request_leaves_lines_of_api_and_worker_and_never_its_prompt(service, read_log, eventually):
    headers = {"X-Request-ID": "from-the-client", "Authorization": "Bearer not-for-logs"}
    sent = {"prompt": f"{SECRET} moves up", "num_inference_steps": 4}
    response = service.client.post("/v1/t2v", params={"note": "not-for-logs"}, json=sent, headers=headers)
    job_id = response.headers["x-vdmini-job"]
    assert response.headers["x-request-id"] == "from-the-client"
    service.client.get(f"/{SECRET}")

    def of_job() -> list[dict]:
        found = [json.loads(line) for line in read_log(service.folder).splitlines() if line.startswith("{")]
        return [line for line in found if line.get("job_id") == job_id]

    eventually(lambda: len(of_job()) == 3, seconds=5)
    by_status = {line["status"]: line for line in of_job()}
    assert by_status.keys() == {"running", "succeeded", 200}
    assert (by_status[200]["route"], by_status[200]["request_id"]) == ("/v1/t2v", "from-the-client")
    assert by_status["succeeded"]["attempt"] == 1
    text = read_log(service.folder)
    assert SECRET not in text
    assert "not-for-logs" not in text
    assert SECRET.replace(" ", "%20") not in text


def test_the_log_of_a_running_service_is_json_but_for_what_the_command_itself_says(service, read_log):
    service.client.get("/v1/jobs")
    others = [line for line in read_log(service.folder).splitlines() if not line.startswith("{")]
    known = ("Starting Redis", "Ready:", "Try, in another", "  curl", "  vdmini-serve", "Ctrl-C")
    assert [line for line in others if not line.startswith(known)] == []
