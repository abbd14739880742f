"""Where jobs stand, when they should be finished, what is refused beforehand, and which job comes first."""

import time
from collections.abc import Callable

import pytest
from redis import Redis
from starlette.testclient import TestClient

from vdmini_serve.api.queue import Snapshot
from vdmini_serve.api.waiting import Waiting
from vdmini_serve.contract import keys
from vdmini_serve.contract.lanes import Lane, LaneCycle
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.samples import sample_key
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.baseline import BaselineStore
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec

BODY = {"prompt": "a red circle moving right slowly on a gray background"}
ASYNC = {"Prefer": "respond-async"}
WORKER = WorkerBeat(id="w", state="busy", models=("t", "i"), at=0)
TASKS = {"t": "t2v", "i": "i2v"}


def waiting(name: str, *, lane: Lane = "normal", at: float = 0, running: bool = False, task: str = "t2v") -> Waiting:
    return Waiting(name, task, lane, at, running, 10.0)


def test_urgent_jobs_and_older_ones_of_the_same_priority_come_first() -> None:
    jobs = [
        waiting("runs", running=True),
        waiting("old", at=1),
        waiting("urgent", lane="high", at=9),
        waiting("patient", lane="low", at=1),
        waiting("other task", task="i2v", at=2),
    ]
    place = Snapshot(jobs, [WORKER], TASKS).place("t2v", "normal", 5)
    assert (place.position, place.start_seconds) == (3, 40)


def test_workers_share_what_is_ahead_and_other_tasks_workers_do_not_help() -> None:
    jobs = [waiting("runs", running=True), waiting("a", at=1), waiting("picture", task="i2v", at=1)]
    alone = [beat_of("t"), beat_of("t"), beat_of("i")]
    place = Snapshot(jobs, alone, TASKS).place("t2v", "normal", 5)
    assert (place.position, place.start_seconds) == (1, 10)
    assert Snapshot((), alone, TASKS).place("t2v", "normal", 5).start_seconds == 0
    assert Snapshot((), [], TASKS).place("t2v", "normal", 5).start_seconds is None


def beat_of(model: str) -> WorkerBeat:
    return WORKER.model_copy(update={"models": (model,)})


def test_a_worker_asks_urgent_queues_first_and_tasks_of_one_lane_in_turn() -> None:
    cycle = LaneCycle()
    cycle.update(["vdmini.i2v.low", "vdmini.i2v.normal", "vdmini.t2v.normal", "vdmini.t2v.high"])
    assert cycle.consume(4)[0] == "vdmini.t2v.high"
    assert cycle.consume(4)[1:3] == ["vdmini.i2v.normal", "vdmini.t2v.normal"]
    cycle.rotate("vdmini.i2v.normal")
    assert cycle.consume(4)[1:3] == ["vdmini.t2v.normal", "vdmini.i2v.normal"]
    assert cycle.consume(4)[3] == "vdmini.i2v.low"


@pytest.fixture
def measured(redis_url: str, serve_api: Callable[..., TestClient]) -> TestClient:
    """An API where the small text-to-video models were measured: the student 2 s for 4 steps, the teacher 5 s."""
    client = serve_api()
    with Redis.from_url(redis_url) as redis:
        store = BaselineStore(redis)
        for name, text in redis.hgetall(keys.MODELS).items():
            model = ModelDescriptor.model_validate_json(text)
            if b"t2v" in name:
                key = sample_key(model, default_spec(model), "here")
                store.add(key, 5.0 if model.variant == "teacher" else 2.0)
    return client


def post(client: TestClient, **fields: object) -> dict[str, object]:
    reply = client.post("/v1/t2v", json=BODY | fields, headers=ASYNC)
    assert reply.status_code == 202, reply.text
    found: dict[str, object] = reply.json()
    return found


def test_a_job_says_how_many_are_before_it_and_when_it_should_be_finished(measured: TestClient) -> None:
    first, second = post(measured), post(measured, num_inference_steps=16)
    time.sleep(0.6)  # a snapshot is shared for half a second
    urgent = post(measured, priority="high")
    time.sleep(0.6)
    places = [measured.get(f"/v1/jobs/{job['id']}").json() for job in (first, second, urgent)]
    assert [job["queue_position"] for job in places] == [1, 2, 0]
    assert [job["expected_seconds"] for job in places] == [2, 8, 2]  # 16 steps were not measured: in proportion
    assert [job["eta_seconds"] for job in places] == [4, 12, 2]
    assert [job["cost"] for job in places] == [8 * 64 * 64 * steps for steps in (4, 16, 4)]


def test_a_job_that_cannot_start_in_time_is_refused_with_the_estimate(measured: TestClient) -> None:
    for _ in range(3):
        post(measured)
    time.sleep(0.6)
    refused = measured.post("/v1/t2v", json=BODY | {"max_queue_seconds": 4}, headers=ASYNC)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:vdmini:problem:queue-too-slow")
    assert "start in 6.0 s" in refused.json()["detail"]
    assert refused.headers["retry-after"] == "2"
    assert post(measured, max_queue_seconds=7)["status"] == "queued"
    assert post(measured, max_queue_seconds=1, priority="high")["status"] == "queued"


@pytest.mark.parametrize("finder", ["reaper", "worker"])
def test_a_job_that_nobody_started_in_time_fails_with_the_reason(serve_api, redis_url, finder: str) -> None:
    client = serve_api(heartbeat_seconds=0.1 if finder == "reaper" else 1000)
    job = post(client, max_queue_seconds=0.2)["id"]
    time.sleep(0.5)
    if finder == "worker":
        with Redis.from_url(redis_url) as redis:
            assert WorkerStore(redis, Settings(jobs_url=redis_url), "w").claim(job) is None
    failed = client.get(f"/v1/jobs/{job}").json()
    assert (failed["status"], failed["error"]["type"]) == ("failed", "urn:vdmini:problem:queued-too-long")
    assert failed["attempts"] == 0


def test_what_waits_may_cost_so_much_but_one_job_always_fits(serve_api: Callable[..., TestClient]) -> None:
    client = serve_api(max_active_cost=8 * 64 * 64 * 5)
    big = post(client, num_inference_steps=16)["id"]
    refused = client.post("/v1/t2v", json=BODY, headers=ASYNC)
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:vdmini:problem:queue-full")
    assert int(refused.headers["retry-after"]) >= 1
    client.post(f"/v1/jobs/{big}/cancel")
    post(client)
    assert client.post("/v1/t2v", json=BODY, headers=ASYNC).status_code == 429


@pytest.mark.parametrize(
    ("asked", "model", "steps", "why"),
    [
        (
            {"quality": "reference"},
            "small-t2v-teacher",
            4,
            "quality is reference; reference: small-t2v-teacher in 4 steps (5 s)",
        ),
        ({"quality": "balanced"}, "small-t2v-vdmini", 4, "quality is balanced; balanced: small-t2v-vdmini in 4"),
        (
            {"max_latency_seconds": 6},
            "small-t2v-teacher",
            4,
            "the best within 6 s; reference: small-t2v-teacher in 4 steps (5 s)",
        ),
        ({"max_latency_seconds": 3}, "small-t2v-vdmini", 4, "the best within 3 s; balanced"),
    ],
)
def test_a_quality_or_a_time_picks_the_model_and_says_why(
    measured: TestClient, asked: dict[str, object], model: str, steps: int, why: str
) -> None:
    job = post(measured, **asked)
    assert (job["model"], job["variant"]) == (model, "vdmini" if "vdmini" in model else "teacher")
    assert why in str(job["choice"])
    assert post(measured)["choice"] is None


def test_a_model_tells_what_one_request_may_ask_for_and_what_it_takes_here(measured: TestClient) -> None:
    student = measured.get("/v1/models/small-t2v-vdmini").json()
    assert (student["expected_seconds"], student["budgets"]["max_cost"]) == (2, 8 * 64 * 64 * 16)
    assert student["budgets"]["max_upload_bytes"] == Settings().max_upload_bytes
    pictures = [each for each in measured.get("/v1/models").json() if each["task"] == "i2v"]
    assert [each["expected_seconds"] for each in pictures] == [None] * len(pictures)


def test_a_time_that_nothing_was_measured_to_keep_is_refused_with_what_was(measured: TestClient) -> None:
    reply = measured.post("/v1/t2v", json=BODY | {"max_latency_seconds": 1}, headers=ASYNC)
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:vdmini:problem:no-variant-fast-enough")
    assert "small-t2v-vdmini in 4 steps (2 s)" in reply.json()["detail"]


@pytest.mark.parametrize("named", [{"variant": "teacher"}, {"num_inference_steps": 4}, {"max_latency_seconds": 9}])
def test_what_is_left_to_the_service_cannot_be_named_as_well(serve_api, named: dict[str, object]) -> None:
    reply = serve_api().post("/v1/t2v", json=BODY | {"quality": "draft"} | named, headers=ASYNC)
    assert reply.status_code == 422
    assert next(iter(named)) in reply.json()["detail"]
