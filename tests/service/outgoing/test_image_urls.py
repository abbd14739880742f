"""`image_url` in place of `image`: the same picture, the same limits, and a clear problem for everything else."""

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from vdmini_serve.contract import keys, metrics

ON = {"image_urls": True, "max_upload_bytes": 20_000, "image_url_seconds": 0.5}


def check(response: Any, status: int, kind: str, mention: str) -> None:
    assert response.status_code == status, response.text
    assert response.json()["type"] == f"urn:vdmini:problem:{kind}"
    assert mention in response.json()["detail"]
    assert "hidden" not in response.text
    assert "127.0.0" not in response.text


@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_an_image_url_makes_the_same_job_as_the_upload(form, opened, serving, answer, picture):
    async def go() -> None:
        async with serving() as peer, opened(**ON) as api:
            peer.answers["/a.png"] = answer(picture)
            fields: dict[str, Any] = {"image_url": peer.url("/a.png"), "seed": 7}
            named = await api.post("i2v", **({"data": fields} if form else {"json": fields}))
            sent = await api.post("i2v", files={"image": picture}, data={"seed": 7})
            assert (named.status_code, sent.status_code) == (202, 202), named.text
            assert named.json()["seed"] == 7
            images = [api.redis.get(keys.image_key(each.json()["id"])) for each in (named, sent)]
            assert images[0] == images[1]
            with Image.open(io.BytesIO(images[0])) as image:
                assert image.size == (64, 64)

    asyncio.run(go())


def test_image_urls_are_off_unless_the_service_allows_them(opened, serving):
    async def go() -> None:
        async with serving() as peer, opened() as api:
            check(await api.post("i2v", json={"image_url": peer.url()}), 403, "feature-off", "upload")
            assert peer.connections == 0

    asyncio.run(go())


def test_the_running_service_has_image_urls_and_webhooks_off(service, picture):
    check(service.post("i2v", image_url="https://x.example/hidden"), 403, "feature-off", "image_url")
    check(service.post("t2v", prompt="a", webhook_url="https://x.example/hidden"), 403, "feature-off", "webhook_url")


@pytest.mark.parametrize(
    ("url", "kind", "mention"),
    [
        ("http://localhost/hidden", "url-refused", "https"),
        ("https://user:hidden@localhost/", "url-refused", "password"),
        ("https://127.0.0.1/hidden", "url-refused", "not public"),
        ("https://hidden.invalid/", "url-refused", "not public"),
        ("https://[::1]/hidden", "url-refused", "not public"),
        ("hidden", "url-refused", "https"),
        ("https://localhost/" + "hidden" * 400, "invalid-field", "2048"),
    ],
)
def test_an_image_url_is_refused_that_is(url, kind, mention, opened):
    async def go() -> None:
        async with opened(**ON) as api:
            check(await api.post("i2v", json={"image_url": url}), 422, kind, mention)
            assert await api.counted(metrics.REJECTED, kind) == 1

    asyncio.run(go())


def test_what_a_server_answers_is_refused_with_the_reason(opened, serving, answer, endless):
    async def go() -> None:
        async with serving() as peer, opened(**ON) as api:
            peer.answers |= {
                "/gone": answer(b"<html>", "404 Not Found"),
                "/text": answer(b"dear model, please animate me"),
                "/long": answer(b"\x89PNG\r\n\x1a\n" + b"\0" * 30_000),
                "/endless": endless(b"\x89PNG\r\n\x1a\n"),
                "/slow": endless(b"\x89PNG\r\n\x1a\n", pause=0.05),
                "/inside": answer(status="302 Found", Location="https://127.0.0.1/hidden"),
            }
            expected = {
                "/gone": ("image-unreachable", "404"),
                "/text": ("unsupported-image", "PNG"),
                "/long": ("image-too-large", "20000 bytes"),
                "/endless": ("image-too-large", "20000 bytes"),
                "/slow": ("image-too-slow", "too long"),
                "/inside": ("url-refused", "not public"),
            }
            for path, (kind, mention) in expected.items():
                check(await api.post("i2v", json={"image_url": peer.url(path)}), 422, kind, mention)
            assert not api.redis.zcard(keys.JOBS)

    asyncio.run(go())


def test_exactly_one_of_image_and_image_url_is_needed(opened, serving, picture):
    async def go() -> None:
        async with serving() as peer, opened(**ON) as api:
            both = await api.post("i2v", files={"image": picture}, data={"image_url": peer.url("/hidden")})
            check(both, 422, "invalid-field", "give one")
            check(await api.post("i2v", json={}), 422, "missing-field", "image")
            check(await api.post("i2v", json={"image_url": 7}), 422, "invalid-field", "image_url")
            check(
                await api.post("t2v", json={"prompt": "a", "image_url": peer.url()}), 422, "unknown-field", "image_url"
            )
            assert peer.connections == 0

    asyncio.run(go())


def test_a_request_that_is_wrong_otherwise_fetches_nothing(opened, serving):
    async def go() -> None:
        async with serving() as peer, opened(**ON) as api:
            wrong = {"image_url": peer.url(), "num_frames": 9999}
            check(await api.post("i2v", json=wrong), 422, "outside-limits", "num_frames")
            assert peer.connections == 0

    asyncio.run(go())


def test_the_openapi_document_says_that_either_is_needed(opened):
    async def go() -> None:
        async with opened() as api:
            document = (await api.client.get("/openapi.json")).json()
            bodies = document["paths"]["/v1/i2v"]["post"]["requestBody"]["content"]
            for kind, image in [
                ("application/json", {"type": "string", "contentEncoding": "base64"}),
                ("multipart/form-data", {"type": "string", "format": "binary"}),
            ]:
                schema = bodies[kind]["schema"]
                assert schema["oneOf"] == [{"required": ["image"]}, {"required": ["image_url"]}]
                assert image.items() <= schema["properties"]["image"].items()

    asyncio.run(go())
