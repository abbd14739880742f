"""Clips in a local folder and in a real S3 server, delivered by the worker's part and served by the API's."""

import asyncio
import hashlib
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from fastapi.testclient import TestClient
from moto.server import ThreadedMotoServer
from pydantic import SecretStr, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from vdmini_serve.api.app import create_app
from vdmini_serve.api.store import ApiStore
from vdmini_serve.contract.job import Job, JobResult
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.results.store import ResultMissingError, StoreAwayError, StoreChoiceError, open_store
from vdmini_serve.worker.delivery import Delivery
from vdmini_serve.worker.runner import Runner
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.store import WorkerStore
from vdmini_serve.worker.warmup import default_spec

JOB = "c" * 32
NAME = f"{JOB}.1.mp4"
CLIP = os.urandom(2_500_000)
SPEC = JobSpec(
    task="t2v", model="m", variant="vdmini", prompt="a secret", width=64, height=64, num_frames=8, fps=8,
    num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalS3:
    """A real S3 server on a port of its own; what it holds outlives a stop."""

    def __init__(self, port: int) -> None:
        self.port, self.server = port, None
        self.start()

    def start(self) -> None:
        self.server = ThreadedMotoServer("127.0.0.1", port=self.port, verbose=False)
        self.server.start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
        self.server = None


@pytest.fixture(scope="module")
def s3_server() -> Iterator[LocalS3]:
    server = LocalS3(free_port())
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    """The server with an empty bucket."""
    given = {
        "ENDPOINT_URL": f"http://127.0.0.1:{s3_server.port}",
        "ACCESS_KEY_ID": "key",
        "SECRET_ACCESS_KEY": "secret",
    }
    for name, value in {**given, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="clips")
    for entry in client.list_objects_v2(Bucket="clips").get("Contents", ()):
        client.delete_object(Bucket="clips", Key=entry["Key"])
    client.close()
    return s3_server


@pytest.fixture(params=["local", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Settings:
    if request.param == "s3":
        request.getfixturevalue("s3")
    chosen = Settings(
        data_dir=tmp_path,
        results_url=SecretStr("s3://clips/here") if request.param == "s3" else None,
        jobs_url=SecretStr(redis_url),
        broker_url=SecretStr(redis_url[:-1] + "0"),
        store_retry_seconds=0,
        result_ttl_seconds=1000,
    )
    chosen.results_dir.mkdir()
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    return chosen


def deliver(settings: Settings, content: bytes = CLIP) -> str:
    """Hash of the delivered content."""
    delivery = Delivery(settings, open_store(settings))
    return delivery.deliver(JOB, 1, lambda path: path.write_bytes(content)).sha256


@dataclass(frozen=True)
class Served:
    """A succeeded job behind a real application."""

    client: TestClient
    settings: Settings
    sha256: str

    def content(self, method: str = "GET", **headers: str):
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.request(method, f"/v1/jobs/{JOB}/content", headers=named, follow_redirects=False)


async def accept(settings: Settings, spec: JobSpec = SPEC, job_id: str = JOB) -> None:
    async with AsyncRedis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as client:
        await ApiStore(client, settings).create(job_id, spec, None)


async def job_of(settings: Settings, job_id: str = JOB) -> Job:
    async with AsyncRedis.from_url(settings.jobs_url.get_secret_value(), decode_responses=True) as client:
        return await ApiStore(client, settings).get(job_id)


def succeed(settings: Settings, sha256: str, size: int = len(CLIP)) -> None:
    with Redis.from_url(settings.jobs_url.get_secret_value()) as redis:
        worker = WorkerStore(redis, settings, "me")
        claim = worker.claim(JOB)
        assert claim is not None
        assert worker.finish(claim, "succeeded", result=JobResult(size_bytes=size, sha256=sha256))


@pytest.fixture
def serve(settings: Settings) -> Iterator[Callable[..., Served]]:
    clients = []

    def go(**changes: object) -> Served:
        chosen = settings.model_copy(update=changes)
        asyncio.run(accept(chosen))
        sha256 = deliver(chosen)
        succeed(chosen, sha256)
        client = TestClient(create_app(chosen))
        clients.append(client)
        client.__enter__()
        return Served(client, chosen, sha256)

    yield go
    for client in clients:
        client.__exit__(None, None, None)


def test_a_file_is_stored_whole_listed_and_removed_and_leaves_nothing_beside_it(settings):
    store = open_store(settings)
    assert deliver(settings) == hashlib.sha256(CLIP).hexdigest()
    assert (store.size(NAME), b"".join(store.read(NAME, 0, len(CLIP) - 1))) == (len(CLIP), CLIP)
    assert b"".join(store.read(NAME, 1_048_570, 1_048_580)) == CLIP[1_048_570:1_048_581]
    assert [(file.name, file.size_bytes) for file in store.files()] == [(NAME, len(CLIP))]
    assert not list(settings.scratch_dir.iterdir())
    assert (store.remove(NAME), store.remove(NAME), list(store.files())) == (True, False, [])
    with pytest.raises(ResultMissingError):
        store.size(NAME)
    with pytest.raises(ResultMissingError):
        next(store.read(NAME, 0, 1))


def test_a_clip_is_served_whole_in_parts_and_as_head(serve):
    served = serve()
    whole = served.content()
    assert (whole.status_code, whole.content == CLIP, whole.headers["etag"]) == (200, True, f'"{served.sha256}"')
    head = served.content("HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CLIP)), b"")
    part = served.content(range="bytes=1048570-1048580")
    assert (part.status_code, part.content) == (206, CLIP[1_048_570:1_048_581])
    assert part.headers["content-range"] == f"bytes 1048570-1048580/{len(CLIP)}"
    assert served.content(range="bytes=-7").content == CLIP[-7:]
    assert served.content(range=f"bytes={len(CLIP)}-").status_code == 416
    assert served.content(if_none_match=f'"{served.sha256}"').status_code == 304


def test_a_clip_that_was_removed_from_the_store_is_gone_and_not_an_error(serve):
    served = serve()
    open_store(served.settings).remove(NAME)
    assert (served.content().status_code, served.content("HEAD").status_code) == (410, 410)
    assert served.content().json()["type"] == "urn:vdmini:problem:content-gone"


@pytest.mark.parametrize("damage", [CLIP[:-1], CLIP[:1000]], ids=["a byte short", "most of it missing"])
def test_a_clip_of_another_size_is_not_served(serve, damage):
    served = serve()
    deliver(served.settings, damage)
    assert served.content().json()["type"] == "urn:vdmini:problem:result-damaged"


def test_a_damaged_clip_never_arrives_whole(serve):
    served = serve()
    deliver(served.settings, CLIP[:-1] + bytes([CLIP[-1] ^ 1]))
    with pytest.raises(RuntimeError, match="response already started"):
        served.content()


@pytest.mark.parametrize("settings", ["s3"], indirect=True)
def test_a_store_that_can_sign_hands_out_a_link_that_ends(serve):
    served = serve(signed_link_seconds=60)
    response = served.content()
    assert (response.status_code, response.headers["cache-control"]) == (307, "no-store")
    with urllib.request.urlopen(response.headers["location"]) as answer:
        assert (answer.read() == CLIP, answer.headers["content-type"]) == (True, "video/mp4")
    assert "X-Amz-Expires=60" in response.headers["location"]
    itself = served.client.get(f"/v1/jobs/{JOB}/content?redirect=false", follow_redirects=False)
    assert (itself.status_code, itself.content) == (200, CLIP)
    assert (served.content("HEAD").status_code, served.content("HEAD").headers["etag"]) == (200, f'"{served.sha256}"')
    open_store(served.settings).remove(NAME)
    assert served.content().status_code == 410


@pytest.mark.parametrize("settings", ["local"], indirect=True)
def test_a_folder_signs_nothing_and_serves_the_clip_itself(serve):
    response = serve(signed_link_seconds=60).content()
    assert (response.status_code, response.content == CLIP) == (200, True)


@pytest.fixture
def away(settings: Settings, s3_server: LocalS3) -> Iterator["Away"]:
    found = Away(settings, s3_server)
    yield found
    found.end()


@dataclass
class Away:
    """Takes the store away for as long as a test likes."""

    settings: Settings
    server: LocalS3

    def begin(self) -> None:
        if self.settings.results_url is not None:
            self.server.stop()
        else:
            self.settings.results_dir.rename(self.settings.results_dir.with_name("unplugged"))
            self.settings.results_dir.write_text("no folder any more")

    def end(self) -> None:
        if self.settings.results_url is not None:
            if self.server.server is None:
                self.server.start()
        elif self.settings.results_dir.is_file():
            self.settings.results_dir.unlink()
            self.settings.results_dir.with_name("unplugged").rename(self.settings.results_dir)


def test_a_store_that_is_away_answers_503_and_the_clip_is_there_when_it_is_back(serve, away):
    served = serve()
    away.begin()
    response = served.content()
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["type"] == "urn:vdmini:problem:results-unavailable"
    assert served.client.get(f"/v1/jobs/{JOB}").json()["status"] == "succeeded"
    away.end()
    assert served.content().content == CLIP


def test_a_clip_that_no_store_takes_is_told_clearly_and_its_partial_file_is_gone(settings, away):
    away.begin()
    with pytest.raises((ProblemError, OSError)) as caught:
        deliver(settings)
    told = caught.value.problem.kind if isinstance(caught.value, ProblemError) else None
    assert told == (None if settings.results_url is None else ProblemKind.RESULTS_UNAVAILABLE)
    assert not list(settings.scratch_dir.iterdir())


@pytest.mark.parametrize("settings", ["s3"], indirect=True)
def test_a_store_that_comes_back_gets_the_clip_after_all(settings, away):
    away.begin()
    late = threading.Timer(1, away.end)
    late.start()
    assert deliver(settings.model_copy(update={"store_retry_seconds": 30})) == hashlib.sha256(CLIP).hexdigest()
    late.join()
    assert open_store(settings).size(NAME) == len(CLIP)


@pytest.mark.parametrize("settings", ["s3"], indirect=True)
def test_a_worker_fails_a_job_clearly_while_the_store_is_away_and_does_the_next_one(settings, away, artifact_folders):
    (folder,) = [path for path in artifact_folders if "t2v" in path.name and path.parent.name == "artifacts"]
    models = load(settings.model_copy(update={"artifacts": (folder,), "device": "cpu"}))
    spec, later = default_spec(next(iter(models.values())).descriptor), "e" * 32
    with Redis.from_url(settings.jobs_url.get_secret_value()) as redis:
        runner = Runner(settings, WorkerStore(redis, settings, "me"), models)
        away.begin()
        asyncio.run(accept(settings, spec))
        runner.run(JOB)
        away.end()
        asyncio.run(accept(settings, spec, later))
        runner.run(later)
    lost, made = (asyncio.run(job_of(settings, job_id)) for job_id in (JOB, later))
    assert (lost.status, lost.error.kind, lost.error.job) == ("failed", ProblemKind.RESULTS_UNAVAILABLE, JOB)
    assert (made.status, made.size_bytes) == ("succeeded", open_store(settings).size(f"{later}.1.mp4"))
    assert sorted(file.name for file in open_store(settings).files()) == [f"{later}.1.mp4", f"{later}.1.webp"]


@pytest.mark.parametrize(
    ("url", "mention"),
    [
        ("memory://x", "VDMINI_DATA_DIR"),
        ("file:///tmp/x", "VDMINI_DATA_DIR"),
        ("simplecache::s3://clips", "one URL"),
        ("clips/here", "one URL"),
        ("s3://", "one URL"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_what_to_do_and_not_repeated(url, mention):
    with pytest.raises(ValidationError, match=mention) as caught:
        Settings(results_url=SecretStr(url))
    assert "clips/here" not in str(caught.value)


def test_a_url_whose_driver_is_unknown_or_missing_is_told_when_the_service_starts():
    with pytest.raises(StoreChoiceError, match="unknown to fsspec"):
        open_store(Settings(results_url=SecretStr("nosuch://bucket/x")))
    with pytest.raises(StoreChoiceError, match=r"vdmini\[s3\]"):
        open_store(Settings(results_url=SecretStr("gs://bucket/x")))


def test_a_read_that_ends_too_early_is_an_error_and_not_a_short_clip(settings):
    deliver(settings)
    with pytest.raises(StoreAwayError):
        list(open_store(settings).read(NAME, 0, len(CLIP) + 5))
