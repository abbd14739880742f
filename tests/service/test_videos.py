"""The routes that other video servers have, on an API without a worker; the worker's part is done by hand."""

import base64
import hashlib
import io
from collections import defaultdict
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from vdmini_serve.access_keys import KeyRing
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.job import JobResult
from vdmini_serve.contract.problem import ProblemKind, problem
from vdmini_serve.results.names import result_name, still_name

PROMPT = "a red circle moves to the right"
MP4 = bytes(range(256)) * 20


def create(api, **fields: object) -> dict[str, Any]:
    response = api.client.post("/v1/videos", json={"prompt": PROMPT, **fields})
    assert response.status_code == 200, response.text
    video: dict[str, Any] = response.json()
    return video


def complete(api, job_id: str) -> None:
    """What a worker does with a job, but for the clip."""
    claim = api.worker.claim(job_id)
    folder = api.settings.results_dir
    (folder / result_name(job_id, claim.attempt)).write_bytes(MP4)
    Image.new("RGB", (64, 64), "red").save(folder / still_name(job_id, claim.attempt), "WEBP")
    sha256 = hashlib.sha256(MP4).hexdigest()
    assert api.worker.finish(claim, "succeeded", result=JobResult(sha256=sha256, size_bytes=len(MP4), speedup=2.5))


def video(api, video_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get(f"/v1/videos/{video_id}").json()
    return found


def files(api) -> list[str]:
    return sorted(path.name for path in api.settings.results_dir.iterdir())


def refused(response: httpx.Response, status: int, kind: str, mention: str, field: str | None = None) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body = response.json()
    assert body["type"] == f"urn:vdmini:problem:{kind}"
    assert mention in body["detail"]
    assert field is None or body["errors"][0]["field"] == field


def counted(api, status: str) -> float:
    ((field, _),) = metrics.outcome("t2v", "vdmini", status)
    return float(api.worker.redis.hget(keys.METRICS, field))


@pytest.fixture(scope="module")
def done(lone_api) -> str:
    """A completed video."""
    made = create(lone_api, seed=3)
    complete(lone_api, made["id"])
    return str(made["id"])


def test_a_video_is_a_job_in_another_shape_from_queued_to_completed(lone_api):
    made = create(lone_api, seconds="1", size="64x64", seed=7, model="vdmini")
    job = lone_api.client.get(f"/v1/jobs/{made['id']}").json()
    assert (made["object"], made["status"], made["progress"], made["error"]) == ("video", "queued", 0, None)
    assert (made["seconds"], made["size"], made["seed"], made["model"]) == ("1", "64x64", 7, job["model"])
    assert (made["created_at"], made["completed_at"]) == (int(job["created_at"]), None)
    claim = lone_api.worker.claim(made["id"])
    lone_api.worker.beat(claim, 0.5)
    assert [video(lone_api, made["id"])[name] for name in ("status", "progress")] == ["in_progress", 50]
    lone_api.worker.finish(claim, "succeeded", result=JobResult(speedup=2.5))
    ended = video(lone_api, made["id"])
    assert (ended["status"], ended["progress"], ended["speedup"]) == ("completed", 100, 2.5)
    assert ended["completed_at"] >= ended["created_at"]


def test_the_answer_says_when_to_poll_until_there_is_nothing_to_wait_for(lone_api):
    response = lone_api.client.post("/v1/videos", json={"prompt": PROMPT})
    url = f"/v1/videos/{response.json()['id']}"
    assert (response.headers["openai-poll-after-ms"], response.headers["location"]) == ("1000", url)
    claim = lone_api.worker.claim(response.json()["id"])
    lone_api.worker.beat(claim, 0.9)
    assert lone_api.client.get(url).headers["openai-poll-after-ms"] == "100"  # it began milliseconds ago
    lone_api.worker.finish(claim, "succeeded", result=JobResult())
    assert "openai-poll-after-ms" not in lone_api.client.get(url).headers


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_an_input_reference_makes_it_image_to_video(lone_api, picture, form):
    if form:
        files = {"input_reference": ("cat.png", picture, "image/png")}
        response = lone_api.client.post("/v1/videos", files=files, data={"prompt": PROMPT, "size": "64x64"})
    else:
        url = "data:image/png;base64," + base64.b64encode(picture).decode()
        response = lone_api.client.post("/v1/videos", json={"prompt": PROMPT, "input_reference": url, "size": "64x64"})
    assert response.status_code == 200, response.text
    assert response.headers["x-vdmini-ignored"] == "prompt"
    job = lone_api.client.get(f"/v1/jobs/{response.json()['id']}").json()
    assert (job["task"], job["variant"]) == ("i2v", "vdmini")
    with Image.open(io.BytesIO(lone_api.worker.redis.get(keys.image_key(job["id"])))) as stored:
        assert (stored.width, stored.height) == (job["width"], job["height"])


def test_how_it_is_queued_can_be_said_as_for_other_jobs(lone_api):
    made = create(lone_api, priority="low", max_queue_seconds=3600)
    job = lone_api.client.get(f"/v1/jobs/{made['id']}").json()
    assert job["priority"] == "low"
    latest = float(lone_api.worker.redis.hget(keys.job_key(job["id"]), "start_before"))
    assert latest == pytest.approx(job["created_at"] + 3600)
    post = lone_api.client.post
    response = post("/v1/videos", json={"prompt": PROMPT, "webhook_url": "https://example.org/"})
    refused(response, 403, "feature-off", "webhook_url")


def test_the_model_is_a_variant_or_a_name(lone_api):
    names = {model.name: model.variant for model in lone_api.models if model.task == "t2v"}
    for asked in ("teacher", *names):
        assert names[create(lone_api, model=asked)["model"]] == names.get(asked, "teacher")


@pytest.mark.parametrize(
    ("asked", "frames", "fps"),
    [
        ({}, 8, 8),
        ({"seconds": 1}, 8, 8),
        ({"seconds": "0.5", "fps": 16}, 8, 16),
        ({"seconds": 0.5, "num_frames": 8}, 8, 16),
        ({"seconds": 0.727, "fps": 11}, 8, 11),
        ({"num_frames": 8, "fps": 10}, 8, 10),
        ({"seconds": 0.5, "fps": 16, "num_frames": 8}, 8, 16),
    ],
)
def test_seconds_frames_and_frames_a_second_follow_from_two_of_them(lone_api, asked, frames, fps):
    made = create(lone_api, **asked)
    assert (made["num_frames"], made["fps"]) == (frames, fps)
    assert made["seconds"] == f"{round(frames / fps, 3):g}"


REFUSED = [
    ({"seconds": 4}, "outside-limits", "at 8 frames a second is 32 frames", "seconds"),
    ({"seconds": 0.33}, "outside-limits", "2.64 frames", "seconds"),
    ({"seconds": 3, "num_frames": 8}, "invalid-field", "no whole number", "seconds"),
    ({"seconds": 2, "fps": 4, "num_frames": 9}, "invalid-field", "leave one of them out", "seconds"),
    ({"seconds": 0}, "invalid-field", "greater than 0", "seconds"),
    ({"seconds": "long"}, "invalid-field", "'long'", "seconds"),
    ({"seconds": "1e3"}, "invalid-field", "'1e3'", "seconds"),
    ({"num_frames": 9}, "outside-limits", "allows 8 to 8", "num_frames"),
    ({"size": "65x64"}, "outside-limits", "allows 64x64", "size"),
    ({"size": "64*64"}, "invalid-field", "64*64", "size"),
    ({"size": "99999x1"}, "invalid-field", "99999x1", "size"),
    ({"width": 64}, "unknown-field", "size", "width"),
    ({"model": "sora-2"}, "unknown-variant", "unknown model 'sora-2' for t2v; allowed are vdmini, teacher", None),
    ({"prompt": None}, "missing-field", "input_reference", "prompt"),
    ({"prompt": " "}, "invalid-field", "blanks", None),
    ({"motion_bucket_id": 3}, "unknown-field", "input_reference", "motion_bucket_id"),
    ({"input_reference": "%%%"}, "invalid-field", "input_reference is no base64", None),
    ({"num_frames": 10**400, "seconds": 1}, "invalid-field", "num_frames", "num_frames"),
]


@pytest.mark.parametrize(("fields", "kind", "mention", "field"), REFUSED, ids=[str(case[0])[:40] for case in REFUSED])
def test_a_video_is_refused_that_makes_no_sense(lone_api, fields, kind, mention, field):
    response = lone_api.client.post("/v1/videos", json={"prompt": PROMPT, **fields})
    refused(response, 422, kind, mention, field)


def test_a_form_is_refused_whose_image_is_text_or_no_image(lone_api):
    post = lone_api.client.post
    refused(post("/v1/videos", data={"input_reference": "hello"}), 422, "invalid-field", "file part")
    refused(post("/v1/videos", files={"input_reference": b"hello"}), 422, "unsupported-image", "PNG")


def test_another_method_is_refused_with_all_that_there_are(lone_api):
    for path, allowed in (("", "GET, POST"), ("/x", "GET, DELETE"), ("/x/content", "GET, HEAD")):
        response = lone_api.client.put(f"/v1/videos{path}")
        refused(response, 405, "method-not-allowed", allowed)
        assert response.headers["allow"] == allowed


def test_pages_list_every_video_once_in_both_orders(lone_api):
    made = [create(lone_api)["id"] for _ in range(3)]
    for order, expected in (("desc", made[::-1]), ("asc", made)):
        seen, after = [], None
        while True:
            query = {"limit": 2, "order": order} | ({"after": after} if after else {})
            page = lone_api.client.get("/v1/videos", params=query).json()
            assert page["object"] == "list"
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            seen += [each["id"] for each in page["data"]]
            after = page["last_id"]
            if not page["has_more"]:
                break
        assert len(seen) == len(set(seen))
        assert [each for each in seen if each in made] == expected
    refused(lone_api.client.get("/v1/videos?order=up"), 422, "invalid-field", "order")
    refused(lone_api.client.get("/v1/videos?after=nope"), 404, "unknown-job", "after")


def test_the_content_is_the_mp4_or_its_still(lone_api, done):
    url = f"/v1/videos/{done}/content"
    whole = lone_api.client.get(url)
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", MP4)
    assert lone_api.client.get(url, headers={"Range": "bytes=5-9"}).content == MP4[5:10]
    still = lone_api.client.get(url, params={"variant": "thumbnail"})
    assert (still.headers["content-type"], still.headers["x-content-type-options"]) == ("image/webp", "nosniff")
    with Image.open(io.BytesIO(still.content), formats=("WEBP",)) as image:
        assert image.size == (64, 64)
    known = {"If-None-Match": still.headers["etag"]}
    assert lone_api.client.get(url, params={"variant": "thumbnail"}, headers=known).status_code == 304
    head = lone_api.client.head(url, params={"variant": "thumbnail"})
    assert (head.headers["content-length"], head.content) == (str(len(still.content)), b"")
    refused(lone_api.client.get(url, params={"variant": "spritesheet"}), 422, "invalid-field", "thumbnail")


def test_there_is_no_content_before_the_video_is_completed_and_none_when_it_is_gone(lone_api):
    made = create(lone_api)["id"]
    for variant in ("video", "thumbnail"):
        response = lone_api.client.get(f"/v1/videos/{made}/content", params={"variant": variant})
        refused(response, 409, "job-not-succeeded", "queued")
    complete(lone_api, made)
    (lone_api.settings.results_dir / still_name(made, 1)).unlink()
    response = lone_api.client.get(f"/v1/videos/{made}/content", params={"variant": "thumbnail"})
    refused(response, 410, "content-gone", "thumbnail")


def test_a_video_that_failed_or_was_cancelled_says_why(lone_api):
    failed, cancelled = (create(lone_api)["id"] for _ in range(2))
    claim = lone_api.worker.claim(failed)
    lone_api.worker.finish(claim, "failed", error=problem(ProblemKind.OUT_OF_MEMORY, "too little memory"))
    assert video(lone_api, failed)["status"] == "failed"
    assert video(lone_api, failed)["error"] == {"code": "out-of-memory", "message": "too little memory"}
    lone_api.client.post(f"/v1/jobs/{cancelled}/cancel")
    assert (video(lone_api, cancelled)["status"], video(lone_api, cancelled)["error"]["code"]) == (
        "failed",
        "job-cancelled",
    )


def test_a_deleted_video_is_unknown_everywhere_and_its_files_are_gone(lone_api):
    made = create(lone_api)["id"]
    complete(lone_api, made)
    before = counted(lone_api, "succeeded"), counted(lone_api, "cancelled")
    assert [name for name in files(lone_api) if made in name] == [f"{made}.1.mp4", f"{made}.1.webp"]
    response = lone_api.client.delete(f"/v1/videos/{made}")
    assert response.json() == {"id": made, "object": "video.deleted", "deleted": True}
    assert not [name for name in files(lone_api) if made in name]
    for url in (f"/v1/videos/{made}", f"/v1/videos/{made}/content", f"/v1/jobs/{made}", f"/v1/jobs/{made}/events"):
        refused(lone_api.client.get(url), 404, "unknown-job", made)
    refused(lone_api.client.delete(f"/v1/videos/{made}"), 404, "unknown-job", made)
    assert made not in lone_api.client.get("/v1/videos?limit=100").text
    assert (counted(lone_api, "succeeded"), counted(lone_api, "cancelled")) == before


def test_a_deleted_video_that_was_queued_never_starts_and_counts_as_cancelled(lone_api):
    before, made = counted(lone_api, "cancelled"), create(lone_api)["id"]
    lone_api.client.delete(f"/v1/videos/{made}")
    assert lone_api.worker.claim(made) is None
    assert counted(lone_api, "cancelled") == before + 1
    assert not lone_api.worker.redis.keys(f"*{made}*")


def test_the_worker_of_a_deleted_video_finds_that_it_is_lost_and_brings_nothing_back(lone_api):
    before, made = counted(lone_api, "cancelled"), create(lone_api)["id"]
    claim = lone_api.worker.claim(made)
    lone_api.client.delete(f"/v1/videos/{made}")
    assert lone_api.worker.beat(claim, 0.5) == "lost"
    assert not lone_api.worker.finish(claim, "succeeded", result=JobResult())
    assert counted(lone_api, "cancelled") == before + 1
    assert not lone_api.worker.redis.keys(f"*{made}*")


def test_a_video_that_is_asked_for_twice_with_one_key_is_made_once(lone_api):
    asked = {"json": {"prompt": PROMPT, "seconds": "1"}, "headers": {"Idempotency-Key": "videos-1"}}
    first, again = (lone_api.client.post("/v1/videos", **asked) for _ in range(2))
    assert again.json()["id"] == first.json()["id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    other = {**asked, "json": {"prompt": PROMPT, "seconds": "0.5", "fps": 16}}
    refused(lone_api.client.post("/v1/videos", **other), 409, "idempotency-conflict", "another request")
    lone_api.client.delete(f"/v1/videos/{first.json()['id']}")
    assert lone_api.client.post("/v1/videos", **asked).json()["id"] != first.json()["id"]


def test_videos_of_other_keys_do_not_exist_for_a_key_and_stay_theirs(serve_api, redis_url):
    api = serve_api(require_api_key=True)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        mine, other = (
            {"Authorization": f"Bearer {KeyRing(redis).add(name, rate=None, max_active_jobs=None, priority='normal')}"}
            for name in ("mine", "other")
        )
        made = api.post("/v1/videos", json={"prompt": PROMPT}, headers=mine).json()["id"]
        url = f"/v1/videos/{made}"
        for reply in (
            api.get(url, headers=other),
            api.get(f"{url}/content", headers=other),
            api.get(f"/v1/jobs/{made}/events", headers=other),
            api.delete(url, headers=other),
        ):
            refused(reply, 404, "unknown-job", made)
        assert api.get("/v1/videos", headers=other).json()["data"] == []
        assert [each["id"] for each in api.get("/v1/videos", headers=mine).json()["data"]] == [made]
        assert api.delete(url, headers=mine).status_code == 200
        assert not redis.keys(f"*{made}*")
        assert api.get("/v1/videos", headers=mine).json()["data"] == []
        assert not redis.exists(keys.ACTIVE)
        assert redis.get(keys.ACTIVE_COST) == "0"


def test_every_documented_route_under_v1_asks_for_a_key(serve_api):
    api = serve_api(require_api_key=True)
    asked = 0
    for path, methods in api.get("/openapi.json").json()["paths"].items():
        for method in methods if path.startswith("/v1/") else ():
            reply = api.request(method, path.format_map(defaultdict(lambda: "x")))
            refused(reply, 401, "key-missing", "Authorization")
            asked += 1
    assert asked > 12
