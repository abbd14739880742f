"""Comparisons over HTTP, in front of a real Redis: what becomes a pair, hidden orders, votes that count once."""

import hashlib

import pytest
from redis import Redis

from vdmini.video import write_mp4
from vdmini_serve.access_keys import KeyRing
from vdmini_serve.contract.comparison import comparison_id
from vdmini_serve.contract.job import JobResult
from vdmini_serve.contract.settings import Settings
from vdmini_serve.results.names import result_name
from vdmini_serve.worker.store import WorkerStore

ASKED = {"prompt": "a red circle moves to the right", "seed": 7}
VOTER = "0123456789abcdef"
LEFT, RIGHT = {"looks": "left", "moves": "left"}, {"looks": "right", "moves": "right"}


class Desk:
    """An API, and the worker's part of its jobs."""

    def __init__(self, client, redis, folder, key=None):
        self.client, self.redis, self.folder = client, redis, folder
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.store = WorkerStore(redis, Settings(jobs_url="redis://unused"), "w")

    def get(self, path):
        return self.client.get(path, headers=self.headers)

    def post(self, path, body, **more):
        return self.client.post(path, json=body, headers=self.headers | more)

    def accept(self, task="t2v", **fields):
        asked = fields if task == "i2v" else ASKED | fields
        answer = self.post(f"/v1/{task}", asked, Prefer="respond-async")
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def finish(self, job_id, **result):
        claim = self.store.claim(job_id)
        path = self.folder / "results" / result_name(job_id, claim.attempt)
        path.parent.mkdir(exist_ok=True)
        write_mp4(frames(), path, fps=8, comment=f"model={claim.spec.model}")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        told = JobResult(size_bytes=path.stat().st_size, sha256=sha256, **result)
        assert self.store.finish(claim, "succeeded", result=told)
        return job_id

    def pair(self, **fields):
        return [self.finish(self.accept(variant=each, **fields)) for each in ("vdmini", "teacher")]

    def compare(self, *jobs):
        return self.post("/v1/comparisons", {"jobs": list(jobs)})

    def draw(self, voter=VOTER):
        return self.post("/v1/comparisons/ballots", {"voter": voter})

    def vote(self, ballot, said):
        return self.post(f"/v1/comparisons/ballots/{ballot['id']}/vote", said)

    def votes(self):
        lines = self.client.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith("vdmini_votes_total{") and not line.endswith(" 0.0")]


def frames():
    import numpy as np

    return np.zeros((8, 64, 64, 3), np.uint8)


@pytest.fixture
def desk(serve_api, redis_url, tmp_path):
    client = serve_api()
    with Redis.from_url(redis_url) as redis:
        yield Desk(client, redis, tmp_path)


def kind(answer):
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_two_jobs_of_one_request_become_one_comparison(desk):
    student, teacher = desk.pair()
    made = desk.compare(teacher, student)
    assert made.status_code == 201
    told = made.json()
    assert (told["id"], told["model"], told["teacher"]) == (
        comparison_id(student, teacher),
        "small-t2v-vdmini",
        "small-t2v-teacher",
    )
    assert told["expires_at"] == desk.get(f"/v1/jobs/{student}").json()["expires_at"]
    assert desk.compare(student, teacher).json() == told
    assert desk.get("/v1/comparisons").json() == {"comparisons": 1, "preferences": []}
    assert 0 < desk.redis.ttl(f"vdmini:comparison:{told['id']}") <= 604_800


def test_what_is_no_pair_is_refused_with_the_reason(desk, picture):
    student, teacher = desk.pair()
    other = desk.finish(desk.accept(variant="teacher", seed=8))
    refused = desk.compare(student, other)
    assert kind(refused) == (422, "not-comparable")
    assert "differ in seed" in refused.json()["detail"]
    assert "both clips were made by a teacher" in desk.compare(teacher, other).json()["detail"]
    assert kind(desk.compare(student, desk.accept(variant="teacher"))) == (409, "job-not-succeeded")
    assert kind(desk.compare(student, "nope")) == (404, "unknown-job")
    assert kind(desk.compare(student)) == (422, "invalid-field")
    assert kind(desk.post("/v1/comparisons", {})) == (422, "missing-field")
    escalated = desk.accept()
    desk.finish(escalated, model="small-t2v-teacher", variant="teacher", escalated=True)
    assert kind(desk.compare(escalated, teacher)) == (422, "not-comparable")


def test_pictures_must_be_the_same(desk, picture):
    import base64
    import io

    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(picture)) as opened:
        turned = io.BytesIO()
        ImageOps.invert(opened.convert("RGB")).save(turned, "PNG")
    one, other = (base64.b64encode(each).decode() for each in (picture, turned.getvalue()))
    asked = {"task": "i2v", "seed": 3}
    student = desk.finish(desk.accept(image=one, **asked))
    same = desk.finish(desk.accept(image=one, variant="teacher", **asked))
    different = desk.finish(desk.accept(image=other, variant="teacher", **asked))
    assert "different pictures" in desk.compare(student, different).json()["detail"]
    assert desk.compare(student, same).status_code == 201


def test_nothing_before_the_vote_tells_the_order(desk):
    student, teacher = desk.pair()
    desk.compare(student, teacher)
    hashes = [desk.get(f"/v1/jobs/{each}").json()["sha256"] for each in (student, teacher)]
    secrets = [student, teacher, "vdmini", "model=", "seed=", *hashes]
    ballot = desk.draw()
    clips = [desk.get(path) for path in ballot.json()["clips"].values()]
    for answer in (ballot, *clips):
        told = answer.content.decode("latin-1") + str(dict(answer.headers))
        assert not [each for each in secrets if each in told]
        assert not {"etag", "server-timing", "content-disposition"} & set(answer.headers)
    assert clips[0].headers["cache-control"] == "no-store"
    assert clips[0].content[4:8] == b"ftyp"


def test_orders_are_drawn_for_each_ballot(desk):
    desk.compare(*desk.pair())
    orders = set()
    for number in range(40):
        ballot = desk.draw(f"another voter, number {number}").json()
        orders.add(desk.redis.hget(f"vdmini:ballot:{ballot['id']}", "left"))
    assert orders == {b"vdmini", b"teacher"}  # one of them alone has a chance of 2 in 2^40


def test_a_vote_counts_once_and_tells_what_was_where(desk):
    student, teacher = desk.pair()
    desk.compare(student, teacher)
    ballot, second = desk.draw().json(), desk.draw().json()
    answer = desk.vote(ballot, LEFT)
    told = answer.json()
    assert answer.status_code == 200
    assert {told[side]["job"] for side in ("left", "right")} == {student, teacher}
    winner = told["left"]["variant"]
    assert told["left"]["job"] == {"vdmini": student, "teacher": teacher}[winner]
    labels = [f'model="small-t2v-vdmini",preferred="{winner}",question="{each}"' for each in ("looks", "moves")]
    assert desk.votes() == [f'vdmini_votes_total{{{each},task="t2v"}} 1.0' for each in labels]
    rate = float(winner == "vdmini")
    assert f'vdmini_preference_rate{{model="small-t2v-vdmini",question="moves",task="t2v"}} {rate}' in (
        desk.client.get("/metrics").text
    )
    assert [each["rate"] for each in told["preferences"]] == [rate, rate]
    assert desk.vote(ballot, LEFT).json() == told  # its answer may have been lost
    assert kind(desk.vote(ballot, RIGHT)) == (409, "already-voted")
    assert kind(desk.vote(second, LEFT)) == (409, "already-voted")
    assert desk.draw().status_code == 204
    assert len(desk.votes()) == 2
    assert desk.draw("somebody else, 2").status_code == 201


def test_who_voted_is_not_stored(desk):
    desk.compare(*desk.pair())
    desk.vote(desk.draw("a voter of renown").json(), LEFT)
    for key in desk.redis.scan_iter("vdmini:*"):
        value = desk.redis.dump(key)
        assert b"renown" not in key + value
    (marks,) = [desk.redis.smembers(key) for key in desk.redis.scan_iter("vdmini:comparison:*:voters")]
    assert len(marks) == 1
    (voters,) = desk.redis.scan_iter("vdmini:comparison:*:voters")
    assert desk.redis.ttl(voters) > 0


def test_counts_stay_when_clips_go(desk):
    student, teacher = desk.pair()
    desk.compare(student, teacher)
    desk.vote(desk.draw().json(), LEFT)
    left = desk.draw("somebody else, 2").json()
    assert desk.client.delete(f"/v1/videos/{student}").status_code == 200
    desk.redis.delete(f"vdmini:job:{student}")
    assert desk.draw("somebody else, 3").status_code == 204
    assert desk.get("/v1/comparisons").json()["comparisons"] == 0
    assert kind(desk.vote(left, LEFT)) == (404, "unknown-ballot")
    assert len(desk.votes()) == 2


def test_those_with_the_fewest_votes_come_first(desk):
    first, second = desk.pair(), desk.pair(seed=8)
    desk.compare(*first)
    desk.vote(desk.draw("voter number one").json(), LEFT)
    desk.compare(*second)
    ballot = desk.draw("voter number two").json()
    assert ballot["to_vote"] == 2
    assert {each["job"] for each in (desk.vote(ballot, LEFT).json()[side] for side in ("left", "right"))} == set(second)


@pytest.mark.parametrize("said", [{"looks": "left"}, {"looks": "up", "moves": "left"}, {**LEFT, "who": "me"}])
def test_a_vote_that_says_something_else_is_refused(desk, said):
    desk.compare(*desk.pair())
    assert desk.vote(desk.draw().json(), said).status_code == 422
    assert desk.votes() == []


def test_a_key_sees_and_votes_on_its_own_clips_only(serve_api, redis_url, tmp_path):
    client = serve_api(require_api_key=True)
    with Redis.from_url(redis_url) as redis, Redis.from_url(redis_url, decode_responses=True) as text:
        limits = {"rate": None, "max_active_jobs": None, "priority": "normal"}
        mine, theirs = (Desk(client, redis, tmp_path, KeyRing(text).add(name, **limits)) for name in ("me", "them"))
        jobs = mine.pair()
        assert kind(theirs.compare(*jobs)) == (404, "unknown-job")
        assert mine.compare(*jobs).status_code == 201
        assert theirs.draw().status_code == 204
        assert theirs.get("/v1/comparisons").json()["comparisons"] == 0
        ballot = mine.draw().json()
        assert kind(theirs.vote(ballot, LEFT)) == (404, "unknown-ballot")
        assert kind(theirs.get(ballot["clips"]["left"])) == (404, "unknown-ballot")
        assert mine.get(ballot["clips"]["left"]).status_code == 200
        assert client.post("/v1/comparisons/ballots", json={"voter": VOTER}).status_code == 401
