"""API keys: who may send what, how much of it, and see which jobs."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from starlette.testclient import TestClient

from vdmini_serve.access_keys import KeyCommandError, KeyRing
from vdmini_serve.cli import main
from vdmini_serve.contract import keys

BODY = {"prompt": "a red circle moving right slowly on a gray background"}


@pytest.fixture
def ring(redis_url: str) -> Iterator[KeyRing]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield KeyRing(redis)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}", "Prefer": "respond-async"}


def make(ring: KeyRing, name: str = "somebody", **limits: object) -> dict[str, str]:
    return bearer(ring.add(name, **{"rate": None, "max_active_jobs": None, "priority": "normal"} | limits))


def test_without_a_key_nothing_under_v1_is_answered_where_keys_are_asked_for(serve_api, ring) -> None:
    client = serve_api(require_api_key=True)
    for method, path in (("get", "/v1/jobs"), ("get", "/v1/models"), ("post", "/v1/t2v"), ("post", "/v1/i2v")):
        for headers, kind in (({}, "key-missing"), (bearer("vdm_wrong"), "key-unknown")):
            reply = getattr(client, method)(path, headers=headers)
            assert (reply.status_code, reply.json()["type"]) == (401, f"urn:vdmini:problem:{kind}")
            assert reply.headers["www-authenticate"] == "Bearer"
    assert client.get("/livez").status_code == client.get("/metrics").status_code == 200
    assert client.post("/v1/t2v", json=BODY, headers=make(ring)).status_code == 202


def test_jobs_of_other_keys_do_not_exist_for_a_key(serve_api, ring) -> None:
    client = serve_api(require_api_key=True)
    mine, other = make(ring), make(ring, "other")
    job = client.post("/v1/t2v", json=BODY, headers=mine).json()["id"]
    assert client.get(f"/v1/jobs/{job}", headers=mine).status_code == 200
    for reply in (
        client.get(f"/v1/jobs/{job}", headers=other),
        client.get(f"/v1/jobs/{job}/content", headers=other),
        client.post(f"/v1/jobs/{job}/cancel", headers=other),
    ):
        assert (reply.status_code, reply.json()["type"]) == (404, "urn:vdmini:problem:unknown-job")
    assert [each["id"] for each in client.get("/v1/jobs", headers=mine).json()["jobs"]] == [job]
    assert client.get("/v1/jobs", headers=other).json()["jobs"] == []


def test_a_key_has_its_own_idempotency_keys(serve_api, ring) -> None:
    client = serve_api(require_api_key=True)
    ids = {
        client.post("/v1/t2v", json=BODY, headers=make(ring, name) | {"Idempotency-Key": "same"}).json()["id"]
        for name in ("one", "two")
    }
    assert len(ids) == 2


def test_a_rate_is_kept_and_says_when_to_come_back(serve_api, ring) -> None:
    client, headers = serve_api(require_api_key=True), make(ring, rate="2/minute")
    replies = [client.post("/v1/t2v", json=BODY, headers=headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [202, 202, 429]
    assert replies[2].json()["type"] == "urn:vdmini:problem:too-many-requests"
    assert 1 <= int(replies[2].headers["retry-after"]) <= 60
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert client.post("/v1/t2v", json=BODY, headers=make(ring, "other")).status_code == 202


def test_clients_without_keys_share_one_rate(serve_api: Callable[..., TestClient]) -> None:
    client = serve_api(requests_without_key="1/minute")
    replies = [client.post("/v1/t2v", json=BODY, headers={"Prefer": "respond-async"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [202, 429]


def test_a_key_has_so_many_jobs_at_once(serve_api, ring) -> None:
    client, headers = serve_api(require_api_key=True), make(ring, max_active_jobs=1)
    first = client.post("/v1/t2v", json=BODY, headers=headers).json()["id"]
    refused = client.post("/v1/t2v", json=BODY, headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:vdmini:problem:too-many-of-yours")
    client.post(f"/v1/jobs/{first}/cancel", headers=headers)
    assert client.post("/v1/t2v", json=BODY, headers=headers).status_code == 202


def test_a_priority_above_a_keys_own_is_refused(serve_api, ring) -> None:
    client = serve_api(require_api_key=True)
    low, high = make(ring, priority="low"), make(ring, priority="high")
    reply = client.post("/v1/t2v", json=BODY | {"priority": "normal"}, headers=low)
    assert (reply.status_code, reply.json()["type"]) == (403, "urn:vdmini:problem:priority-not-allowed")
    assert client.post("/v1/t2v", json=BODY | {"priority": "low"}, headers=low).json()["priority"] == "low"
    assert client.post("/v1/t2v", json=BODY | {"priority": "high"}, headers=high).json()["priority"] == "high"


def test_the_command_makes_lists_and_removes_keys_and_stores_no_text(
    serve_api, ring, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = serve_api(require_api_key=True)
    monkeypatch.setenv("VDMINI_JOBS_URL", redis_url)
    assert main(["keys", "add", "the shop", "--rate", "60/minute", "--max-active-jobs", "4"]) == 0
    text = capsys.readouterr().out.strip()
    assert client.get("/v1/jobs", headers=bearer(text)).status_code == 200
    assert text not in str(ring.redis.hgetall(keys.ACCESS_KEYS))
    assert main(["keys", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert "60/minute" in line
    assert line.endswith("the shop")
    assert main(["keys", "remove", line.split()[0]]) == 0
    assert client.get("/v1/jobs", headers=bearer(text)).status_code == 401
    assert main(["keys", "remove", "none"]) == 1
    with pytest.raises(KeyCommandError, match="no rate"):
        ring.add("x", rate="often", max_active_jobs=None, priority="low")


def test_the_command_says_when_there_is_no_store() -> None:
    command = [sys.executable, "-m", "vdmini_serve.cli", "keys", "list"]
    environment = {"VDMINI_JOBS_URL": "redis://127.0.0.1:1/1", "PATH": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "the job store cannot be reached" in ended.stderr
    assert "Traceback" not in ended.stderr
