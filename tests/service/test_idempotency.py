"""A request that is sent again makes no second job."""

import uuid
from collections.abc import Callable

from starlette.testclient import TestClient

PROMPT = "a red circle moving right slowly on a gray background"
ASYNC = {"Prefer": "respond-async"}


def post(client: TestClient, key: str, **fields: object) -> object:
    return client.post("/v1/t2v", json={"prompt": PROMPT, **fields}, headers=ASYNC | {"Idempotency-Key": key})


def test_the_same_request_gets_the_same_job_as_json_and_as_a_form(serve_api: Callable[..., TestClient]) -> None:
    client, key = serve_api(), str(uuid.uuid4())
    first, again = post(client, key), post(client, key)
    form = client.post("/v1/t2v", data={"prompt": PROMPT}, headers=ASYNC | {"Idempotency-Key": key})
    assert {reply.json()["id"] for reply in (first, again, form)} == {first.json()["id"]}
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == form.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


def test_another_request_under_the_same_key_is_refused_and_names_the_job(serve_api: Callable[..., TestClient]) -> None:
    client = serve_api()
    first = post(client, "one").json()["id"]
    reply = post(client, "one", seed=1)
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:vdmini:problem:idempotency-conflict")
    assert reply.json()["job"] == first
    assert post(client, "two", seed=1).json()["id"] != first


def test_pictures_count_as_what_was_said(serve_api: Callable[..., TestClient], picture: bytes) -> None:
    client, key = serve_api(), {"Idempotency-Key": "picture", **ASYNC}
    first = client.post("/v1/i2v", files={"image": picture}, headers=key)
    assert client.post("/v1/i2v", files={"image": picture}, headers=key).json()["id"] == first.json()["id"]
    assert client.post("/v1/i2v", files={"image": picture + b"\0"}, headers=key).status_code == 409


def test_a_key_that_is_none_is_refused(serve_api: Callable[..., TestClient]) -> None:
    client = serve_api()
    for key in ("", "a b", "k" * 256):
        reply = post(client, key)
        assert reply.status_code == 422
        assert "1 to 255 visible ASCII characters" in reply.json()["detail"]


def test_a_key_is_remembered_for_a_while_only(serve_api: Callable[..., TestClient]) -> None:
    client = serve_api(idempotency_seconds=60)
    post(client, "brief")
    redis = client.app.state.service.store.redis
    (name,) = client.portal.call(redis.keys, "vdmini:idempotency:*")
    assert 0 < client.portal.call(redis.ttl, name) <= 60
    assert "brief" not in name
