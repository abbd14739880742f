"""From a request to an MP4 and back to frames: the running service with the repository's small models."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import av
import httpx
import numpy as np
import pytest
from PIL import Image

PROMPT = "a red circle moves to the right"


def decode(mp4: bytes) -> tuple[list[np.ndarray], str, str]:
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, stream.codec_context.name, stream.codec_context.pix_fmt


def check_video(response: httpx.Response, *, size: tuple[int, int] = (64, 64), count: int = 8) -> list[np.ndarray]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "video/mp4"
    mp4 = response.content
    frames, codec, pixels = decode(mp4)
    assert (codec, pixels, len(frames)) == ("h264", "yuv420p", count)
    assert {frame.shape for frame in frames} == {(size[1], size[0], 3)}
    assert mp4.index(b"moov") < mp4.index(b"mdat")
    assert response.headers["etag"] == f'"{hashlib.sha256(mp4).hexdigest()}"'
    return frames


@pytest.fixture(scope="module")
def clip(service) -> httpx.Response:
    """One finished text-to-video clip."""
    response = service.client.post("/v1/t2v", json={"prompt": PROMPT, "seed": 3})
    check_video(response)
    return response


@pytest.mark.parametrize("variant", ["vdmini", "teacher"])
def test_an_image_in_a_form_becomes_a_clip(service, picture, variant):
    response = service.client.post("/v1/i2v", files={"image": picture}, data={"seed": "1", "variant": variant})
    check_video(response)
    assert "denoise;dur=" in response.headers["server-timing"]
    job = service.job(response.headers["x-vdmini-job"])
    assert (job["status"], job["variant"], job["seed"], job["progress"]) == ("succeeded", variant, 1, 1)
    assert set(job["timings"]) == {"queue", "encode", "denoise", "decode", "mp4", "total"}


def test_the_same_image_as_json_gives_the_same_bytes_as_in_a_form(service, picture):
    form = service.client.post("/v1/i2v", files={"image": picture}, data={"seed": "5", "motion_bucket_id": "90"})
    encoded = base64.b64encode(picture).decode()
    plain = service.client.post("/v1/i2v", json={"image": encoded, "seed": 5, "motion_bucket_id": 90})
    url = f"data:image/png;base64,{encoded}"
    as_url = service.client.post("/v1/i2v", json={"image": url, "seed": 5, "motion_bucket_id": 90})
    assert check_video(form) is not None
    assert form.content == plain.content == as_url.content


def test_a_sentence_becomes_a_clip_as_json_and_as_a_form(service, clip):
    form = service.client.post("/v1/t2v", data={"prompt": PROMPT, "seed": "3"})
    assert form.content == clip.content


def test_a_model_is_picked_by_its_name(service, picture):
    names = [model["name"] for model in service.client.get("/v1/models").json() if model["task"] == "i2v"]
    for name in names:
        response = service.client.post("/v1/i2v", files={"image": picture}, data={"variant": name})
        assert service.job(response.headers["x-vdmini-job"])["model"] == name


def test_one_seed_gives_the_same_clip_again_after_another_one(service, clip):
    other = service.client.post("/v1/t2v", json={"prompt": PROMPT, "seed": 4})
    again = service.client.post("/v1/t2v", json={"prompt": PROMPT, "seed": 3})
    assert again.content == clip.content != other.content


def test_a_seed_is_drawn_and_told_when_none_is_given(service):
    first, second = (service.client.post("/v1/t2v", json={"prompt": PROMPT}) for _ in range(2))
    seeds = [service.job(response.headers["x-vdmini-job"])["seed"] for response in (first, second)]
    assert seeds[0] != seeds[1]
    assert service.client.post("/v1/t2v", json={"prompt": PROMPT, "seed": seeds[0]}).content == first.content


def test_the_first_job_already_knows_the_measured_baseline(service, clip):
    job = service.job(clip.headers["x-vdmini-job"])
    engine = sum(job["timings"][stage] for stage in ("encode", "denoise", "decode"))
    assert job["baseline_samples"] >= 1
    assert job["speedup"] == pytest.approx(job["baseline_seconds"] / engine)


def test_no_baseline_is_made_up_for_work_that_the_teacher_never_did(service):
    fields = {"prompt": PROMPT, "num_inference_steps": 8, "guidance_scale": 1}  # no other test does it: none is re-run
    job = service.job(service.client.post("/v1/t2v", json=fields).headers["x-vdmini-job"])
    assert (job["baseline_seconds"], job["baseline_samples"], job["speedup"]) == (None, None, None)


def test_respond_async_gives_a_job_that_can_be_polled_to_its_clip(service, picture):
    headers = {"Prefer": "respond-async"}
    response = service.client.post("/v1/i2v", files={"image": picture}, headers=headers)
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    job = service.finished(response.json()["id"])
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    content = service.client.get(f"/v1/jobs/{job['id']}/content")
    check_video(content)
    assert (len(content.content), hashlib.sha256(content.content).hexdigest()) == (job["size_bytes"], job["sha256"])


def test_a_video_of_the_shape_that_others_use_is_made_polled_and_had_with_its_still(service, picture):
    form = {"files": {"input_reference": picture}, "data": {"seed": "5", "model": "teacher"}}
    for body in (form, {"json": {"prompt": PROMPT, "seconds": "1", "size": "64x64"}}):
        video = service.client.post("/v1/videos", **body).json()
        while video["status"] in ("queued", "in_progress"):
            answer = service.client.get(f"/v1/videos/{video['id']}")
            time.sleep(int(answer.headers.get("openai-poll-after-ms", "0")) / 1000)
            video = answer.json()
        assert (video["status"], video["progress"]) == ("completed", 100)
        content = f"/v1/videos/{video['id']}/content"
        check_video(service.client.get(content))
        still = service.client.get(content, params={"variant": "thumbnail"})
        with Image.open(io.BytesIO(still.content), formats=("WEBP",)) as image:
            assert image.size == (64, 64)


def test_the_events_of_a_job_end_with_its_success(service):
    job_id = service.post("t2v", prompt=PROMPT, num_inference_steps=16).json()["id"]
    lines = service.client.get(f"/v1/jobs/{job_id}/events").text.splitlines()
    states = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert states[-1] == service.job(job_id)
    assert states[-1]["status"] == "succeeded"
    assert [state["progress"] for state in states] == sorted(state["progress"] for state in states)
    assert len({line for line in lines if line.startswith("id: ")}) == len(states)


def test_content_is_served_whole_in_parts_as_head_and_not_twice(service, clip):
    url, mp4 = f"/v1/jobs/{clip.headers['x-vdmini-job']}/content", clip.content
    get = service.client.get
    head = service.client.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(mp4)), b"")
    assert head.headers["x-content-type-options"] == "nosniff"
    part = get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, mp4[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(mp4)}"
    assert get(url, headers={"Range": "bytes=-5"}).content == mp4[-5:]
    assert get(url, headers={"Range": "bytes=5-"}).content == mp4[5:]
    assert get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'}).content == mp4
    assert get(url, headers={"If-None-Match": clip.headers["etag"]}).status_code == 304
    beyond = get(url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(mp4)}")


@pytest.mark.parametrize(
    "value", ["bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=-", "bytes=1-2,4-5", "bytes=" + "9" * 99]
)
def test_a_range_that_makes_no_sense_is_ignored(service, clip, value):
    url = f"/v1/jobs/{clip.headers['x-vdmini-job']}/content"
    response = service.client.get(url, headers={"Range": value})
    assert (response.status_code, response.content) == (200, clip.content)


def test_polls_are_fast_while_a_request_waits(service, clip):
    url = f"/v1/jobs/{clip.headers['x-vdmini-job']}"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(service.client.post, "/v1/t2v", json={"prompt": PROMPT, "num_inference_steps": 16})
        polls = []
        while not waiting.done():
            started = time.perf_counter()
            assert service.client.get(url).status_code == 200
            polls.append(time.perf_counter() - started)
        assert waiting.result().status_code == 200
    assert sorted(polls)[len(polls) // 2] < 0.1


def test_a_running_job_is_cancelled_and_the_worker_goes_on(service):
    before = service.metric("vdmini_jobs_total", outcome="cancelled")
    job_id = service.post("t2v", prompt=PROMPT, num_inference_steps=16).json()["id"]
    while service.job(job_id)["status"] == "queued":
        time.sleep(0.005)
    for _ in range(2):
        assert service.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    assert service.finished(job_id)["status"] == "cancelled"
    content = service.client.get(f"/v1/jobs/{job_id}/content")
    assert (content.status_code, content.json()["type"]) == (409, "urn:vdmini:problem:job-not-succeeded")
    check_video(service.client.post("/v1/t2v", json={"prompt": PROMPT}))
    assert service.metric("vdmini_jobs_total", outcome="cancelled") == before + 1


def test_a_queued_job_is_cancelled_before_it_starts(service):
    ids = [service.post("t2v", prompt=PROMPT, num_inference_steps=16).json()["id"] for _ in range(2)]
    assert service.client.post(f"/v1/jobs/{ids[1]}/cancel").json()["status"] == "cancelled"
    assert service.finished(ids[0])["status"] == "succeeded"
    assert service.job(ids[1])["attempts"] == 0


def test_a_prompt_with_too_many_tokens_is_told_to_the_one_who_waits(service):
    limits = service.client.get("/v1/models/small-t2v-teacher").json()["limits"]
    prompt = "-".join(["red"] * (limits["max_prompt_tokens"] + 5))
    response = service.client.post("/v1/t2v", json={"prompt": prompt})
    assert (response.status_code, response.json()["type"]) == (422, "urn:vdmini:problem:prompt-too-long")
    assert f"at most {limits['max_prompt_tokens']}" in response.json()["detail"]
    assert service.job(response.json()["job"])["status"] == "failed"


def test_models_show_their_limits_and_their_receipt(service):
    models = service.client.get("/v1/models").json()
    assert {(model["task"], model["variant"]) for model in models} == {
        (task, variant) for task in ("i2v", "t2v") for variant in ("vdmini", "teacher")
    }
    one = service.client.get(f"/v1/models/{models[0]['name']}").json()
    assert one == models[0]
    assert one["limits"]["sizes"]


def test_metrics_equal_the_jobs(service, clip):
    jobs, after = [], ""
    while after is not None:
        page = service.client.get("/v1/jobs", params={"limit": 100, **({"after": after} if after else {})}).json()
        jobs, after = jobs + page["jobs"], page["next"]
    for outcome in ("succeeded", "failed", "cancelled"):
        counted = service.metric("vdmini_jobs_total", outcome=outcome)
        assert counted == sum(job["status"] == outcome for job in jobs), outcome
    done = [job for job in jobs if job["status"] == "succeeded"]
    for variant in ("vdmini", "teacher"):
        of_variant = [job for job in done if job["variant"] == variant]
        assert service.metric("vdmini_job_latency_seconds_count", variant=variant) == len(of_variant)
        assert service.metric("vdmini_queue_wait_seconds_count", variant=variant) == len(of_variant)
        for stage in ("encode", "denoise", "decode", "mp4"):
            spent = service.metric("vdmini_stage_seconds_sum", variant=variant, stage=stage)
            assert spent == pytest.approx(sum(job["timings"][stage] for job in of_variant))


def test_metrics_tell_baseline_speedup_queues_workers_and_models(service, clip):
    assert service.metric("vdmini_baseline_latency_seconds", task="t2v", size="64x64x8", steps="4") > 0
    assert service.metric("vdmini_speedup_ratio", task="i2v", size="64x64x8") > 0
    assert service.metric("vdmini_workers") == 1
    assert service.metric("vdmini_model_info") == len(service.client.get("/v1/models").json())
    assert "vdmini_queue_jobs{" in service.client.get("/metrics").text


def test_an_idle_worker_re_runs_finished_jobs_on_the_teacher(service, clip, eventually):
    eventually(lambda: service.metric("vdmini_shadow_runs_total", task="t2v", outcome="compared") >= 1, seconds=60)
    eventually(lambda: service.metric("vdmini_shadow_drift_count", task="t2v", metric="ssim") >= 1, seconds=5)
    assert service.metric("vdmini_shadow_speedup_ratio_sum", task="t2v") > 0
    assert service.metric("vdmini_escalations_total") == 0


def test_the_documentation_names_every_route_and_field(service):
    document = service.client.get("/openapi.json").json()
    assert {"/v1/i2v", "/v1/t2v", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/content", "/readyz"} <= set(document["paths"])
    body = document["paths"]["/v1/i2v"]["post"]["requestBody"]["content"]
    assert "motion_bucket_id" in body["multipart/form-data"]["schema"]["properties"]


def command(service, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "vdmini_serve.cli", "generate", *arguments]
    return subprocess.run(line, env=service.environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_makes_a_clip_of_an_image_and_of_a_sentence(service, picture, clip, tmp_path):
    image, output = tmp_path / "cat.png", tmp_path / "out.mp4"
    image.write_bytes(picture)
    done = command(service, "--url", service.url, "--image", str(image), "-o", str(output), "--motion-bucket-id", "80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "speed-up" in done.stdout
    assert len(decode(output.read_bytes())[0]) == 8
    done = command(service, "--url", service.url, "--prompt", PROMPT, "-o", str(output), "--seed", "3")
    assert done.returncode == 0
    assert output.read_bytes() == clip.content
    assert sorted(tmp_path.iterdir()) == [image, output]


def test_the_command_explains_what_went_wrong_and_leaves_no_file(service, tmp_path):
    output = tmp_path / "out.mp4"
    there = ("--url", service.url, "-o", str(output))
    cases = {
        ("--prompt", "x", "--url", "http://127.0.0.1:9", "-o", str(output)): "vdmini-serve up",
        ("--prompt", "x", "--variant", "gold", *there): "allowed are",
        ("--image", str(tmp_path / "missing.png"), *there): "missing.png",
        ("--image", __file__, *there): "PNG",
        ("--prompt", "x", "--url", service.url, "-o", str(tmp_path / "no" / "out.mp4")): "does not exist",
    }
    for arguments, mention in cases.items():
        done = command(service, *arguments)
        assert (done.returncode, mention in done.stderr) == (1, True), done.stderr
    assert not list(tmp_path.iterdir())


def test_an_urgent_job_overtakes_what_waits_and_a_patient_one_waits(service):
    wanted = ["normal", "normal", "low", "normal", "high"]
    ids = [service.post("t2v", prompt=PROMPT, num_inference_steps=16, priority=lane).json()["id"] for lane in wanted]
    jobs = [service.finished(job_id) for job_id in ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * 5
    order = sorted(range(5), key=lambda index: jobs[index]["started_at"])
    assert order[0] == 0
    assert order.index(4) < order.index(3) < order.index(2)


def test_a_repeated_request_gets_the_same_clip_and_makes_no_second_job(service, clip):
    key = {"Idempotency-Key": "whole-line"}
    first = service.client.post("/v1/t2v", json={"prompt": PROMPT}, headers=key)
    again = service.client.post("/v1/t2v", json={"prompt": PROMPT}, headers=key)
    assert first.content == again.content
    assert first.headers["x-vdmini-job"] == again.headers["x-vdmini-job"]
    assert again.headers["idempotent-replayed"] == "true"


def test_a_time_picks_what_was_measured_to_keep_it(service):
    reply = service.post("t2v", prompt=PROMPT, max_latency_seconds=1000)
    assert (reply.json()["variant"], "reference" in reply.json()["choice"]) == ("teacher", True)
    assert service.finished(reply.json()["id"])["status"] == "succeeded"
    reply = service.post("t2v", prompt=PROMPT, max_latency_seconds=1e-6)
    assert reply.json()["type"] == "urn:vdmini:problem:no-variant-fast-enough"
