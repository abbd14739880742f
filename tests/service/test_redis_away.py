"""The API while Redis is away: it lives, says that it isn't ready, and answers problems."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from vdmini_serve.api.app import create_app
from vdmini_serve.contract.settings import Settings

NOWHERE = SecretStr("redis://127.0.0.1:9/0")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(broker_url=NOWHERE, jobs_url=NOWHERE))) as client:
        yield client


def test_the_api_is_alive(client):
    assert client.get("/livez").json() == {"status": "alive"}


@pytest.mark.parametrize("path", ["/readyz", "/v1/jobs", "/v1/models", "/v1/jobs/" + "0" * 32])
def test_what_needs_redis_answers_503(client, path):
    response = client.get(path)
    assert response.status_code == 503
    assert response.json()["type"] == "urn:vdmini:problem:store-unavailable"
    assert response.headers["retry-after"] == "5"


def test_a_request_is_refused_and_not_lost(client):
    response = client.post("/v1/t2v", json={"prompt": "a red circle moves to the right"})
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
