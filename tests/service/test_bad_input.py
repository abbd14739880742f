"""Bad input to the running service: a clear problem each time, and the service unharmed."""

import base64
import json
import struct
import zlib

import httpx
import pytest

HUGE_HEADER = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\r" + HUGE_HEADER + struct.pack(">I", zlib.crc32(HUGE_HEADER))
BOMB += b"\0\1\0\0IDAT" + b"\0" * 64
GOOD = {"prompt": "a red circle moves to the right"}

T2V = [
    ("an empty prompt", {"prompt": ""}, 422, "invalid-field", "prompt"),
    ("a prompt of blanks", {"prompt": " \t\n "}, 422, "invalid-field", "blanks"),
    ("a prompt of 10,000 characters", {"prompt": "a" * 10_000}, 422, "prompt-too-long", "10000"),
    ("a prompt of 1,000 words", {"prompt": "a " * 900}, 422, "prompt-too-long", "900 words"),
    ("no prompt", {}, 422, "missing-field", "prompt"),
    ("a prompt that is a number", {"prompt": 5}, 422, "invalid-field", "prompt"),
    ("no frames", {**GOOD, "num_frames": 0}, 422, "invalid-field", "num_frames"),
    ("10,000 frames", {**GOOD, "num_frames": 10_000}, 422, "outside-limits", "10000"),
    ("a size that the model cannot do", {**GOOD, "width": 65}, 422, "outside-limits", "64x64"),
    ("a size beyond reason", {**GOOD, "width": 10**9}, 422, "invalid-field", "width"),
    ("999 steps", {**GOOD, "num_inference_steps": 999}, 422, "outside-limits", "num_inference_steps"),
    ("1,000 frames a second", {**GOOD, "fps": 1000}, 422, "outside-limits", "fps"),
    ("an unknown variant", {**GOOD, "variant": "gold"}, 422, "unknown-variant", "teacher"),
    ("a model of the other task", {**GOOD, "variant": "small-i2v-teacher"}, 422, "unknown-variant", "allowed"),
    ("an unknown field", {**GOOD, "promt": "x"}, 422, "unknown-field", "promt"),
    ("a field of the other task", {**GOOD, "motion_bucket_id": 3}, 422, "unknown-field", "motion_bucket_id"),
    ("a negative seed", {**GOOD, "seed": -1}, 422, "invalid-field", "seed"),
    ("a seed that no JSON client carries", {**GOOD, "seed": 2**60}, 422, "invalid-field", "seed"),
    ("a seed that is no integer", {**GOOD, "seed": 1.5}, 422, "invalid-field", "seed"),
    ("a seed in quotes", {**GOOD, "seed": "7"}, 422, "invalid-field", "seed"),
    ("a seed that is true", {**GOOD, "seed": True}, 422, "invalid-field", "seed"),
    ("guidance below 1", {**GOOD, "guidance_scale": 0.5}, 422, "invalid-field", "guidance_scale"),
]

RAW = [
    ("broken JSON", b'{"prompt": ', 400, "broken-json"),
    ("not a number", b'{"prompt": "x", "guidance_scale": NaN}', 400, "broken-json"),
    ("infinity", b'{"prompt": "x", "guidance_scale": Infinity}', 400, "broken-json"),
    ("infinity in digits", b'{"prompt": "x", "guidance_scale": 1e999}', 422, "invalid-field"),
    ("5,000 digits", b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", 400, "broken-json"),
    ("a list", b"[]", 400, "broken-json"),
    ("nothing", b"", 400, "broken-json"),
    ("deep nesting", b"[" * 50_000, 400, "broken-json"),
    ("no UTF-8", b'{"prompt": "\xff"}', 400, "broken-json"),
    ("half a surrogate", b'{"prompt": "\\ud800"}', 422, "invalid-field"),
    ("a field given twice", b'{"prompt": "x", "prompt": "y"}', 422, "invalid-field"),
    ("a text that is too long for any prompt", b'{"prompt": "' + b"a" * 200_000 + b'"}', 413, "body-too-large"),
]

IMAGES = [
    ("a text file", b"dear model, please animate me", 422, "unsupported-image"),
    ("nothing", b"", 422, "unsupported-image"),
    ("a GIF", b"GIF89a" + b"\0" * 64, 422, "unsupported-image"),
    ("a header of 30000x30000", BOMB, 422, "image-too-large"),
    ("a header alone", BOMB[:20], 422, "unsupported-image"),
    ("more bytes than allowed", b"\x89PNG\r\n\x1a\n" + b"\0" * 1_050_000, 413, "body-too-large"),
    ("far more bytes than allowed", b"\x89PNG\r\n\x1a\n" + b"\0" * 8_000_000, 413, "body-too-large"),
]


def check(response: httpx.Response, status: int, kind: str, mention: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == f"urn:vdmini:problem:{kind}"
    assert body["status"] == status
    assert mention in body["detail"]


@pytest.mark.parametrize(("fields", "status", "kind", "mention"), [c[1:] for c in T2V], ids=[c[0] for c in T2V])
def test_a_sentence_is_refused_with(service, fields, status, kind, mention):
    before = service.metric("vdmini_rejected_total", reason=kind)
    check(service.client.post("/v1/t2v", json=fields), status, kind, mention)
    assert service.metric("vdmini_rejected_total", reason=kind) == before + 1


@pytest.mark.parametrize(("body", "status", "kind"), [c[1:] for c in RAW], ids=[c[0] for c in RAW])
def test_a_body_is_refused_that_is(service, body, status, kind):
    check(service.client.post("/v1/t2v", content=body, headers={"content-type": "application/json"}), status, kind)


@pytest.mark.parametrize(("image", "status", "kind"), [c[1:] for c in IMAGES], ids=[c[0] for c in IMAGES])
@pytest.mark.parametrize("form", [True, False], ids=["form", "json"])
def test_an_image_is_refused_that_is(service, form, image, status, kind):
    if form:
        response = service.client.post("/v1/i2v", files={"image": ("../../etc/passwd", image)})
    else:
        response = service.client.post("/v1/i2v", json={"image": base64.b64encode(image).decode()})
    check(response, status, kind)


def test_an_image_that_is_no_base64_is_refused(service):
    check(service.client.post("/v1/i2v", json={"image": "%%%"}), 422, "invalid-field", "base64")
    check(service.client.post("/v1/i2v", json={"image": 7}), 422, "invalid-field", "base64")


def test_a_form_is_refused_without_image_or_with_text_for_it_or_with_two(service, picture):
    check(service.client.post("/v1/i2v", data={"seed": "1"}, files={"x": b"1"}), 422, "invalid-field", "image")
    check(service.client.post("/v1/i2v", data={"image": "hello"}), 422, "invalid-field", "file")
    check(service.client.post("/v1/i2v", json={}), 422, "missing-field", "image")
    twice = [("image", picture), ("image", picture)]
    check(service.client.post("/v1/i2v", files=twice), 422, "invalid-field", "twice")


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "x"), ("seed", ""), ("noise_aug_strength", "nan"), ("motion_bucket_id", "256")]
)
def test_a_form_field_is_refused_that_is_no_number_in_range(service, picture, name, value):
    response = service.client.post("/v1/i2v", files={"image": picture}, data={name: value})
    check(response, 422, "invalid-field", name)


def test_a_broken_form_is_refused(service):
    headers = {"content-type": "multipart/form-data"}
    check(service.client.post("/v1/i2v", content=b"zzz", headers=headers), 400, "broken-form")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    check(service.client.post("/v1/i2v", content=b"no boundary here", headers=headers), 400, "broken-form")


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "image/png", "nonsense", ""])
def test_another_content_type_is_refused_with_the_allowed_ones(service, content_type):
    headers = {"content-type": content_type} if content_type else {}
    response = service.client.post("/v1/t2v", content=b"hello", headers=headers)
    check(response, 415, "unsupported-content-type", "application/json")


def test_an_upload_without_a_length_is_counted_while_it_streams(service):
    def endless():
        for _ in range(40):
            yield b"\0" * 100_000

    headers = {"content-type": "application/json"}
    check(service.client.post("/v1/i2v", content=endless(), headers=headers), 413, "body-too-large")


@pytest.mark.parametrize("path", ["/v1/jobs/nope", "/v1/jobs/" + "0" * 32, "/v1/jobs/..%2f..%2fetc/content"])
def test_an_unknown_job_is_404(service, path):
    response = service.client.get(path)
    assert response.status_code == 404
    assert response.json()["type"] in ("urn:vdmini:problem:unknown-job", "urn:vdmini:problem:unknown-route")


def test_unknown_routes_models_methods_and_queries_are_problems(service):
    client = service.client
    check(client.get("/v2/anything"), 404, "unknown-route")
    check(client.get("/v1/models/gold"), 404, "unknown-model", "small-")
    check(client.post("/v1/jobs/nope/cancel"), 404, "unknown-job")
    check(client.get("/v1/jobs?limit=0"), 422, "invalid-field", "limit")
    check(client.get("/v1/jobs?after=nope"), 404, "unknown-job")
    response = client.put("/v1/t2v")
    check(response, 405, "method-not-allowed", "POST")
    assert response.headers["allow"] == "POST"


def test_no_answer_repeats_a_prompt(service):
    response = service.client.post("/v1/t2v", json={"prompt": "my secret " * 500, "seed": -1})
    assert "secret" not in json.dumps(response.json())


def test_after_all_that_the_service_is_alive_and_ready(service):
    assert service.client.get("/readyz").status_code == 200
    assert service.process.poll() is None
