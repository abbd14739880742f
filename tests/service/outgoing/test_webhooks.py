"""A webhook is sent at least once, signed, off the job's path, and never by two at the same time."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis as AsyncRedis
from standardwebhooks import Webhook

from vdmini_serve.api.outgoing import open_outgoing
from vdmini_serve.api.store import ApiStore
from vdmini_serve.api.webhooks import WebhookSender, retry_delay, signed_headers
from vdmini_serve.contract import keys, metrics
from vdmini_serve.contract.job import Job, JobResult
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.contract.ticket import Ticket

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
QUICK = {"webhook_first_retry_seconds": 0.01, "webhook_longest_retry_seconds": 0.02, "webhook_max_attempts": 3}


async def until(what: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait for something that is awaited to become true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := await what()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        await asyncio.sleep(0.02)
    return found


async def submit(api: Any, url: str, **headers: str) -> str:
    response = await api.post("t2v", json={"prompt": "a secret sentence", "webhook_url": url}, headers=headers)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def finish(api: Any, job_id: str) -> None:
    assert api.worker.finish(api.worker.claim(job_id), "succeeded", result=JobResult(sha256="x"))


def settled(api: Any, job_id: str) -> Callable[[], Any]:
    async def look() -> Any:
        webhook = (await api.job(job_id))["webhook"]
        return webhook if webhook["status"] in ("delivered", "failed") else None

    return look


def test_the_finished_job_is_posted_once_with_a_signature_that_the_standards_library_accepts(
    opened, serving, answer, secret
):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,)) as api:
            peer.answers["/hook?token=1"] = answer(status="204 No Content")
            job_id = await submit(api, peer.url("/hook?token=1"), traceparent=TRACEPARENT)
            assert (await api.job(job_id))["webhook"] == {"status": "waiting", "attempts": 0, "last_error": None}
            await asyncio.sleep(0.4)
            assert not peer.seen
            finish(api, job_id)
            delivered = await until(settled(api, job_id))
            assert delivered == {"status": "delivered", "attempts": 1, "last_error": None}
            await asyncio.sleep(0.4)
            (seen,) = peer.seen
            assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
            assert (seen.headers["webhook-id"], seen.headers["traceparent"]) == (job_id, TRACEPARENT)
            sent = Job.model_validate(Webhook(secret).verify(seen.body, seen.headers))
            assert (sent.id, sent.status, sent.sha256) == (job_id, "succeeded", "x")
            assert b"secret sentence" not in seen.body
            assert await api.counted(metrics.WEBHOOK_DELIVERIES, "delivered") == 1

    asyncio.run(go())


@pytest.mark.parametrize("end", ["cancelled", "failed", "lost"])
def test_every_last_state_is_told(end, opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), max_attempts=1) as api:
            peer.answers["/"] = answer()
            job_id = await submit(api, peer.url())
            if end == "cancelled":
                await api.client.post(f"/v1/jobs/{job_id}/cancel")
            elif end == "failed":
                api.worker.finish(api.worker.claim(job_id), "failed")
            else:
                assert api.worker.claim(job_id)  # and its worker dies
                assert api.worker.claim(job_id) is None
            await until(settled(api, job_id))
            assert json.loads(peer.seen[0].body)["status"] == ("cancelled" if end == "cancelled" else "failed")

    asyncio.run(go())


def test_a_job_without_a_webhook_has_none_and_puts_nothing_into_the_outbox(opened, secret):
    async def go() -> None:
        async with opened(webhook_secrets=(secret,)) as api:
            job_id = (await api.post("t2v", json={"prompt": "a"})).json()["id"]
            finish(api, job_id)
            assert (await api.job(job_id))["webhook"] is None
            assert not api.redis.exists(keys.WEBHOOKS)

    asyncio.run(go())


def test_a_failed_attempt_is_repeated_with_the_same_id_and_body(opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), **QUICK) as api:
            peer.answers["/"] = answer(b"busy", "503 Service Unavailable")
            job_id = await submit(api, peer.url())
            finish(api, job_id)
            await until(lambda: api.counted(metrics.WEBHOOK_DELIVERIES, "retried"))
            webhook = (await api.job(job_id))["webhook"]
            assert webhook["status"] == "pending"
            assert "503" in webhook["last_error"]
            peer.answers["/"] = answer()
            assert (await until(settled(api, job_id)))["last_error"] is None
            assert len({(seen.headers["webhook-id"], seen.body) for seen in peer.seen}) == 1
            assert len(peer.seen) >= 2

    asyncio.run(go())


def test_a_receiver_that_never_takes_it_is_given_up_after_the_last_attempt(opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), **QUICK) as api:
            peer.answers["/"] = answer(status="302 Found", Location=peer.url("/elsewhere"))
            job_id = await submit(api, peer.url())
            finish(api, job_id)
            webhook = await until(settled(api, job_id))
            assert (webhook["status"], webhook["attempts"]) == ("failed", 3)
            assert "302" in webhook["last_error"]
            assert [seen.path for seen in peer.seen] == ["/", "/", "/"]
            assert [await api.counted(metrics.WEBHOOK_DELIVERIES, o) for o in ("retried", "failed")] == [2, 1]
            assert not api.redis.exists(keys.WEBHOOKS)
            assert (await api.job(job_id))["status"] == "succeeded"

    asyncio.run(go())


def test_a_receiver_that_is_gone_is_not_asked_again(opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), **QUICK) as api:
            peer.answers["/"] = answer(status="410 Gone")
            job_id = await submit(api, peer.url())
            finish(api, job_id)
            assert (await until(settled(api, job_id)))["attempts"] == 1

    asyncio.run(go())


def test_a_slow_receiver_holds_neither_jobs_nor_the_webhooks_of_others(opened, serving, answer, endless, secret):
    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), webhook_seconds=1.5, **QUICK) as api:
            peer.answers |= {"/slow": lambda _: asyncio.sleep(60), "/quick": answer(), "/endless": endless()}
            jobs = [await submit(api, peer.url(path)) for path in ("/slow", "/quick", "/endless")]
            for job_id in jobs:
                finish(api, job_id)
                assert (await api.job(job_id))["status"] == "succeeded"
            for job_id in jobs[1:]:  # an endless answer is an answer: only its status counts
                assert (await until(settled(api, job_id), 1.2))["status"] == "delivered"
            assert (await api.job(jobs[0]))["webhook"]["status"] == "pending"

    asyncio.run(go())


def test_a_webhook_is_judged_when_asked_for_and_again_when_sent(opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer:
            peer.answers["/"] = answer()
            async with opened(webhook_secrets=(secret,)) as api:
                for url in (peer.url(host="127.0.0.1"), peer.url().replace("https", "http"), "https://x.invalid/"):
                    response = await api.post("t2v", json={"prompt": "a", "webhook_url": url})
                    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "webhook_url")
                    assert response.json()["type"].endswith("url-refused")
                    assert url not in response.text
                job_id = await submit(api, peer.url())
            async with opened(webhook_secrets=(secret,), outgoing_exceptions=(), **QUICK) as api:
                finish(api, job_id)
                webhook = await until(settled(api, job_id))
                assert (webhook["status"], webhook["attempts"]) == ("failed", 3)
                assert "not public" in webhook["last_error"]
            assert peer.connections == 0

    asyncio.run(go())


def test_without_a_secret_webhooks_are_refused(opened):
    async def go() -> None:
        async with opened() as api:
            response = await api.post("t2v", json={"prompt": "a", "webhook_url": "https://localhost/"})
            assert (response.status_code, response.json()["type"]) == (403, "urn:vdmini:problem:feature-off")

    asyncio.run(go())


def test_a_taken_webhook_is_nobody_elses_until_its_taker_must_be_dead(opened, redis_url, secret):
    async def go() -> None:
        limits = {"webhook_seconds": 0.05, "webhook_max_attempts": 2}
        async with opened() as api, two_senders(redis_url, webhook_secrets=(secret,), **limits) as (one, other):
            ids = [f"{index:032}" for index in range(8)]
            for job_id in ids:
                api.redis.hset(keys.job_key(job_id), mapping={"webhook_url": "https://x.invalid/"})
                api.redis.zadd(keys.WEBHOOKS, {job_id: 0})
            taken = await asyncio.gather(*(sender.take(3) for sender in (one, other, one, other)))
            assert sorted(each for part in taken for each in part) == [(job_id, 1) for job_id in ids]
            (due,) = {round(score) for _, score in api.redis.zrange(keys.WEBHOOKS, 0, 0, withscores=True)}
            assert 4 <= due - time.time() <= 6
            expire(api, *ids)
            assert {attempt for _, attempt in await other.take(16)} == {2}
            expire(api, *ids)
            assert await one.take(16) == []  # each attempt killed its sender: no more of them
            assert api.redis.hget(keys.job_key(ids[0]), "webhook_status") == b"failed"
            assert await api.counted(metrics.WEBHOOK_DELIVERIES, "failed") == 8

    asyncio.run(go())


def expire(api: Any, *ids: str) -> None:
    """As if time had passed."""
    api.redis.zadd(keys.WEBHOOKS, dict.fromkeys(ids, 1))


@asynccontextmanager
async def two_senders(redis_url: str, **given: Any) -> AsyncIterator[tuple[WebhookSender, WebhookSender]]:
    """Those of two replicas, not yet running."""
    settings = Settings(outgoing_exceptions=("localhost",), **given)
    async with AsyncRedis.from_url(redis_url, decode_responses=True) as client, open_outgoing(settings) as outgoing:
        store = ApiStore(client, settings)
        yield WebhookSender(store, outgoing), WebhookSender(store, outgoing)


def test_a_process_that_ends_in_the_middle_of_sending_leaves_it_to_the_next(opened, serving, answer, secret):
    async def go() -> None:
        async with serving() as peer:
            peer.answers["/"] = lambda _: asyncio.sleep(60)
            async with opened(webhook_secrets=(secret,)) as api:
                job_id = await submit(api, peer.url())
                finish(api, job_id)
                await until(lambda: asyncio.sleep(0, bool(peer.seen)))
            assert len(peer.seen) == 1
            peer.answers["/"] = answer()
            async with opened(webhook_secrets=(secret,)) as api:
                expire(api, job_id)
                assert await until(settled(api, job_id)) == {"status": "delivered", "attempts": 2, "last_error": None}

    asyncio.run(go())


def test_an_attempt_that_comes_too_late_changes_nothing(opened, redis_url, serving, answer, secret, ca_file):
    async def go() -> None:
        async with serving() as peer, opened() as api:
            peer.answers["/"] = answer(status="500 Internal Server Error")
            job_id = await accepted(redis_url, peer.url())
            finish(api, job_id)
            async with two_senders(redis_url, webhook_secrets=(secret,), outgoing_ca_file=ca_file) as (one, other):
                assert await one.take(1) == [(job_id, 1)]
                expire(api, job_id)
                assert await other.take(1) == [(job_id, 2)]
                await one.send(job_id, 1)
                assert (await api.job(job_id))["webhook"]["last_error"] is None
                await other.send(job_id, 2)
                assert "500" in (await api.job(job_id))["webhook"]["last_error"]

    asyncio.run(go())


async def accepted(redis_url: str, webhook_url: str) -> str:
    job_id = "a" * 32
    spec = JobSpec(
        task="t2v", model="small-t2v", variant="vdmini", prompt="a", width=64, height=64, num_frames=8, fps=8,
        num_inference_steps=4, guidance_scale=1, motion_bucket_id=127, noise_aug_strength=0.02, seed=1,
    )  # fmt: skip
    async with AsyncRedis.from_url(redis_url, decode_responses=True) as client:
        await ApiStore(client, Settings()).create(job_id, spec, None, Ticket(webhook_url=webhook_url))
    return job_id


def test_the_webhook_of_a_job_that_was_removed_is_dropped_and_the_job_stays_removed(opened, redis_url, secret):
    async def go() -> None:
        async with opened() as api, two_senders(redis_url, webhook_secrets=(secret,)) as (sender, _):
            job_id = await accepted(redis_url, "https://x.invalid/")
            finish(api, job_id)
            assert await sender.take(1) == [(job_id, 1)]
            api.redis.delete(keys.job_key(job_id))
            await sender.send(job_id, 1)
            expire(api, job_id)
            assert await sender.take(1) == []
            assert not api.redis.exists(keys.job_key(job_id), keys.WEBHOOKS)

    asyncio.run(go())


def test_every_key_signs_so_that_receivers_may_change_theirs_one_by_one(secret):
    body, at = '{"id": "x"}', 1_700_000_000.9
    headers = signed_headers(body, message_id="m", at=at, keys=(secret, OLD))
    keys_bytes = [base64.b64decode(each.removeprefix("whsec_")) for each in (secret, OLD)]
    signed = f"m.1700000000.{body}".encode()
    digests = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys_bytes]
    assert headers["webhook-signature"] == f"v1,{digests[0]} v1,{digests[1]}"
    assert headers["webhook-timestamp"] == "1700000000"


def test_pauses_double_up_to_the_longest_and_are_drawn_from_their_upper_half():
    def pause(attempt: int, draw: float) -> float:
        return retry_delay(attempt, first=5, longest=3600, draw=draw)

    assert [pause(attempt, 1) for attempt in (1, 2, 3, 10, 11, 5000)] == [5, 10, 20, 2560, 3600, 3600]
    assert pause(3, 0) == 10
    assert 10 < pause(3, 0.3) < pause(3, 0.6) < 20


@pytest.mark.parametrize("bad", ["plain", "whsec_%%%", "whsec_c2hvcnQ=", "whsec_" + "QUJD" * 40])
def test_a_secret_that_is_none_stops_the_start_without_being_repeated(bad):
    with pytest.raises(ValidationError) as caught:
        Settings(webhook_secrets=bad)  # type: ignore[arg-type]
    assert bad not in caught.value.errors()[0]["msg"]


def test_secrets_are_separated_by_commas_and_are_not_shown(secret):
    settings = Settings(webhook_secrets=f"{secret}, {OLD}")  # type: ignore[arg-type]
    assert [each.get_secret_value() for each in settings.webhook_secrets] == [secret, OLD]
    assert secret not in repr(settings)


def test_neither_url_nor_secret_nor_body_is_logged(opened, serving, answer, secret, caplog):
    caplog.set_level(logging.DEBUG)

    async def go() -> None:
        async with serving() as peer, opened(webhook_secrets=(secret,), **QUICK) as api:
            peer.answers["/?token=hidden"] = answer(status="500 Internal Server Error")
            job_id = await submit(api, peer.url("/?token=hidden"))
            finish(api, job_id)
            await until(settled(api, job_id))
            shown = (await api.client.get("/metrics")).text + json.dumps(await api.job(job_id))
            assert "hidden" not in shown
            assert f"localhost:{peer.port}" not in shown + caplog.text

    asyncio.run(go())
    assert "given up" in caplog.text
    for private in ("hidden", secret, secret.removeprefix("whsec_"), "secret sentence"):
        assert private not in caplog.text


def test_the_openapi_document_describes_the_webhook(opened):
    async def go() -> None:
        async with opened() as api:
            described = (await api.client.get("/openapi.json")).json()["webhooks"]["job-finished"]["post"]
            names = {each["name"] for each in described["parameters"]}
            assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}

    asyncio.run(go())
