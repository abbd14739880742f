"""The Python client against the running service: clips, progress, cancelling, errors."""

import asyncio
import hashlib
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from starlette.testclient import TestClient

import vdmini_client
from vdmini_client import AsyncClient, Client, Clip, Job, Retries
from vdmini_serve.access_keys import KeyRing
from vdmini_serve.api.offer import ModelOffer
from vdmini_serve.contract.job import Job as ServiceJob

PROMPT = "a red circle moves to the right"
ONCE = Retries(most=0)


@pytest.fixture(scope="module")
def client(service):
    with Client(service.url) as made:
        yield made


@pytest.fixture(scope="module")
def clip(client) -> Clip:
    return client.t2v(PROMPT, seed=3, num_inference_steps=4)


def test_a_sentence_becomes_a_clip_with_its_jobs_fields(clip, tmp_path):
    assert (clip.status, clip.seed, clip.progress, clip.task) == ("succeeded", 3, 1, "t2v")
    path = clip.save(tmp_path / "clip.mp4")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256
    assert clip.content() == path.read_bytes() == b"".join(clip.stream())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("given", ["bytes", "path", "file"])
def test_an_image_becomes_a_clip_however_it_is_given(given, client, picture, tmp_path):
    (tmp_path / "photo.png").write_bytes(picture)
    with (tmp_path / "photo.png").open("rb") as file:
        image: Any = {"bytes": picture, "path": str(tmp_path / "photo.png"), "file": file}[given]
        clip = client.i2v(image, motion_bucket_id=80, seed=1)
    assert (clip.status, clip.task, clip.model) == ("succeeded", "i2v", "small-i2v-vdmini")
    assert b"ftyp" in clip.content()[:12]


@pytest.mark.parametrize("events", [True, False])
def test_progress_is_told_from_the_queue_to_the_end(events, service):
    told: list[Job] = []
    with Client(service.url, events=events) as client:
        clip = client.t2v(PROMPT, num_inference_steps=16, progress=told.append)
    assert told[0].status in ("queued", "running")
    assert (told[-1].status, told[-1].id) == ("succeeded", clip.id)
    assert [job.progress for job in told] == sorted(job.progress for job in told)


def test_the_async_client_does_the_same(service, picture, tmp_path, clip):
    told: list[str] = []

    async def tell(job: Job) -> None:
        told.append(job.status)

    async def go() -> None:
        async with AsyncClient(service.url) as client:
            moving, spoken = await asyncio.gather(
                client.i2v(picture, seed=1, progress=tell), client.t2v(PROMPT, seed=3, num_inference_steps=4)
            )
            assert (moving.status, spoken.sha256) == ("succeeded", clip.sha256)
            path = await spoken.save(tmp_path / "clip.mp4")
            assert path.read_bytes() == await spoken.content() == b"".join([piece async for piece in spoken.stream()])
            assert {model.name for model in await client.models()} >= {"small-i2v-vdmini", "small-t2v-vdmini"}
            assert (await client.model("small-t2v-vdmini")).limits.sizes == ((64, 64),)
            assert (await client.jobs(limit=1)).jobs[0].id in (moving.id, spoken.id)
            assert (await client.wait(await client.job(moving.id))).id == moving.id
            assert await client.content(moving.id) == await moving.content()

    asyncio.run(go())
    assert told[-1] == "succeeded"


def test_a_submitted_job_is_asked_for_waited_for_and_listed(client, tmp_path):
    job = client.submit_t2v(PROMPT)
    assert client.job(job.id).id == job.id
    assert client.wait(job.id).status == "succeeded"
    page = client.jobs(limit=1)
    assert page.next is not None
    assert client.jobs(after=page.next, limit=1).jobs[0].id != page.jobs[0].id
    assert client.download(job.id, tmp_path / "a.mp4").read_bytes() == client.content(job.id)
    assert b"".join(client.stream(job.id)) == client.content(job.id)


def test_models_tell_their_limits(client):
    models = {model.name: model for model in client.models()}
    model = client.model("small-i2v-vdmini")
    assert models["small-i2v-vdmini"] == model
    assert (model.limits.sizes, model.variant, model.task) == (((64, 64),), "vdmini", "i2v")
    assert model.budgets["max_upload_bytes"] == 1_000_000


def test_a_job_is_cancelled_and_its_waiter_told(client):
    job = client.submit_t2v(PROMPT, num_inference_steps=16)
    assert client.cancel(job).id == job.id
    with pytest.raises(vdmini_client.JobCancelledError) as ended:
        client.wait(job)
    assert ended.value.job.status == "cancelled"
    assert client.cancel(job.id).status == "cancelled"


def test_ctrl_c_while_waiting_cancels_the_job(client):
    seen: list[Job] = []

    def interrupt(job: Job) -> None:
        if not seen:
            threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        seen.append(job)

    with pytest.raises(KeyboardInterrupt):
        client.t2v(PROMPT, num_inference_steps=16, priority="low", variant="teacher", progress=interrupt)
    with pytest.raises(vdmini_client.JobCancelledError):
        client.wait(seen[0].id)


def test_cancelling_the_task_cancels_the_job(service):
    async def go() -> None:
        async with AsyncClient(service.url) as client:
            known: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
            making = client.t2v(
                PROMPT,
                variant="teacher",
                num_inference_steps=16,
                progress=lambda job: known.done() or known.set_result(job),  # type: ignore[func-returns-value]
            )
            task = asyncio.ensure_future(making)
            job = await known
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(vdmini_client.JobCancelledError):
                await client.wait(job)

    asyncio.run(go())


@pytest.mark.parametrize("events", [True, False])
def test_a_job_goes_on_when_its_waiter_has_no_more_time(events, service):
    with Client(service.url, events=events) as client:
        job = client.submit_t2v(PROMPT, num_inference_steps=16, variant="teacher")
        with pytest.raises(vdmini_client.WaitTimeoutError, match="goes on") as late:
            client.wait(job, timeout_seconds=0.1)
        assert late.value.job.id == job.id
        assert client.wait(job).status == "succeeded"


ERRORS: dict[str, tuple[Callable[[Client], object], type[vdmini_client.ServiceError], str, str | None]] = {
    "limit": (lambda c: c.t2v(PROMPT, num_frames=999), vdmini_client.InvalidRequestError, "outside-limits", None),
    "type": (lambda c: c.t2v(PROMPT, seed=-1), vdmini_client.InvalidRequestError, "invalid-field", "seed"),
    "unknown field": (
        lambda c: c.t2v(PROMPT, extra={"colour": 1}),
        vdmini_client.InvalidRequestError,
        "unknown-field",
        "colour",
    ),
    "no image": (lambda c: c.i2v(b"text"), vdmini_client.InvalidRequestError, "unsupported-image", None),
    "job": (lambda c: c.job("nope"), vdmini_client.NotFoundError, "unknown-job", None),
    "model": (lambda c: c.model("gold"), vdmini_client.NotFoundError, "unknown-model", None),
    "off": (
        lambda c: c.t2v(PROMPT, webhook_url="https://example.org/"),
        vdmini_client.InvalidRequestError,
        "feature-off",
        None,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_refused_request_is_an_error_of_its_kind(name, client):
    ask, kind, problem, field = ERRORS[name]
    with pytest.raises(kind) as refused:
        ask(client)
    assert type(refused.value) is kind
    assert (refused.value.kind, refused.value.status >= 400) == (problem, True)
    if field is not None:
        assert refused.value.field == field
        assert field in str(refused.value)
    assert isinstance(refused.value, vdmini_client.VDMiniError)


def test_a_failed_job_says_why(client):
    with pytest.raises(vdmini_client.JobFailedError, match="at most") as failed:
        client.t2v("-".join(["red"] * 80), variant="small-t2v-teacher")
    assert failed.value.job.error is not None
    assert failed.value.job.error.kind == "prompt-too-long"


def test_nobody_there_is_said_with_the_address(a_free_port, tmp_path):
    with (
        Client(f"http://127.0.0.1:{a_free_port}", retries=ONCE) as client,
        pytest.raises(vdmini_client.UnreachableError, match=f"no service answers at http://127.0.0.1:{a_free_port}"),
    ):
        client.models()


@pytest.mark.parametrize("url", ["nowhere", "ftp://here", "http://", "http://here:port", "http://127.0.0.1:99999"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(vdmini_client.UnreachableError), Client(url, retries=ONCE) as client:
        client.models()


def in_process(api: TestClient, key: str = "") -> Client:
    """A client of an API in this process, whose requests go through the API's own test client."""

    def pass_on(request: httpx.Request) -> httpx.Response:
        sent = dict(request.headers.items())
        answer = api.request(request.method, request.url.path, content=request.read(), headers=sent)
        return httpx.Response(answer.status_code, headers=dict(answer.headers.items()), content=answer.content)

    return Client("http://testserver", api_key=key, retries=ONCE, transport=httpx.MockTransport(pass_on))


def test_keys_rates_and_limits_are_errors_of_their_own(serve_api, redis_url):
    api = serve_api(require_api_key=True)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        key = KeyRing(redis).add("me", rate="2/minute", max_active_jobs=1, priority="normal")
    for wrong, kind in (("", "key-missing"), ("vdm_x", "key-unknown")):
        with pytest.raises(vdmini_client.UnauthorisedError) as refused:
            in_process(api, wrong).models()
        assert refused.value.kind == kind
    client = in_process(api, key)
    client.submit_t2v(PROMPT)
    for kind in ("too-many-of-yours", "too-many-requests"):
        with pytest.raises(vdmini_client.RateLimitedError) as limited:
            client.submit_t2v(PROMPT)
        assert (limited.value.kind, (limited.value.retry_after_seconds or 0) > 0) == (kind, True)


def test_a_full_queue_says_when_to_come_back(serve_api):
    client = in_process(serve_api(max_active_jobs=1))
    client.submit_t2v(PROMPT)
    with pytest.raises(vdmini_client.QueueFullError) as full:
        client.submit_t2v(PROMPT)
    assert (full.value.retry_after_seconds or 0) > 0


def test_the_key_comes_from_the_environment(monkeypatch):
    seen: list[str | None] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json=[])

    monkeypatch.setenv("VDMINI_API_KEY", "vdm_1")
    for key in (None, "vdm_2", ""):
        with Client(api_key=key, transport=httpx.MockTransport(note)) as client:
            client.models()
    assert seen == ["Bearer vdm_1", "Bearer vdm_2", None]


def test_the_clients_types_have_every_field_of_the_services():
    assert set(Job.model_fields) == set(ServiceJob.model_fields)
    assert set(vdmini_client.Model.model_fields) == set(ModelOffer.model_fields)


def test_answers_of_another_version_are_read(service, clip):
    said = service.job(clip.id)
    kept = {"id", "status", "task", "model", "variant", "width", "height", "num_frames", "fps", "created_at"}
    kept |= {"num_inference_steps", "guidance_scale", "seed"}
    old = {name: value for name, value in said.items() if name in kept}
    assert Job.model_validate({**old, "colour": "red"}).id == clip.id


def test_both_clients_have_the_same_surface():
    def surface(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert surface(Client) == surface(AsyncClient)
    assert Path(vdmini_client.__file__).with_name("py.typed").is_file()
