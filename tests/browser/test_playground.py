"""The playground in a real browser: from a photo or a sentence to clips that play side by side."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

SENTENCE = "a red circle moving right slowly on a gray background"
SYNC = """async () => {
  const videos = [...document.querySelectorAll('video')];
  const apart = [], times = new Set();
  for (const end = performance.now() + 2500; performance.now() < end; ) {
    await new Promise(requestAnimationFrame);
    apart.push(Math.abs(videos[0].currentTime - videos[1].currentTime));
    times.add(videos[1].currentTime);
  }
  const frames = videos.map((video) => video.getVideoPlaybackQuality().totalVideoFrames);
  return {apart: Math.max(...apart), times: times.size, frames};
}"""
PIXELS = """async (frame) => {
  const scrub = document.querySelector('.player-controls [type=range]');
  scrub.value = frame;
  scrub.dispatchEvent(new Event('input'));
  const videos = [...document.querySelectorAll('video')];
  const there = (video) => new Promise((done) => video.addEventListener('seeked', done, {once: true}));
  await Promise.all(videos.map((video) => video.seeking && there(video)));
  await new Promise((done) => setTimeout(done, 100));
  return videos.map((video) => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext('2d');
    canvas.drawImage(video, 0, 0);
    return [...canvas.getImageData(0, 0, video.videoWidth, video.videoHeight).data];
  });
}"""


@pytest.fixture
def photo() -> dict[str, object]:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((640, 480)).convert("RGB").save(buffer, "JPEG")
    return {"name": "holiday photo.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def say(seen, sentence=SENTENCE, **settings):
    """Fill in the form for a sentence."""
    seen.page.check("#task-t2v", force=True)
    seen.page.fill("#prompt", sentence)
    if settings:
        seen.page.locator("details.settings").evaluate("(element) => (element.open = true)")
    for name, value in settings.items():
        control = seen.page.locator(f"#{name}")
        (control.select_option if name == "num_inference_steps" else control.fill)(value)


def job_ids(seen):
    runs = json.loads(seen.page.evaluate("localStorage.getItem('vdmini.runs')"))
    return [side["id"] for side in runs[0]["sides"]]


def rounded(seconds):
    """As the page writes it."""
    return f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def about(seconds):
    return pytest.approx(seconds, abs=0.06 if seconds > 9.99 else 0.006)


def job(seen, job_id):
    return httpx.get(f"{seen.address}/v1/jobs/{job_id}", trust_env=False).json()


def test_a_photo_becomes_two_clips_that_play_in_sync(visit, photo):
    seen = visit()
    seen.open()
    seen.ready()
    seen.page.set_input_files("#image", photo)
    expect(seen.page.locator("#picture-name")).to_contain_text("holiday photo.jpg")
    seen.page.click("#submit")
    seen.finished()
    student, teacher = [job(seen, each) for each in job_ids(seen)]
    assert (student["variant"], teacher["variant"], student["seed"]) == ("vdmini", "teacher", teacher["seed"])

    played = seen.page.evaluate(SYNC)
    assert played["apart"] <= 1 / student["fps"]
    assert played["times"] > 10
    assert min(played["frames"]) >= student["num_frames"]
    first, last = seen.page.evaluate(PIXELS, 0), seen.page.evaluate(PIXELS, student["num_frames"] - 1)
    changed = [sum(abs(a - b) > 4 for a, b in zip(*pair, strict=True)) for pair in zip(first, last, strict=True)]
    assert min(changed) > 200
    assert first[0] != first[1]  # not one clip twice
    assert seen.page.locator(".player-controls [type=range]").get_attribute("aria-valuetext") == "frame 8 of 8"


def test_what_is_said_of_the_time_is_what_was_measured(visit):
    seen = visit()
    seen.open()
    seen.ready()
    seen.page.click("[data-sample='cat.jpg']")
    seen.page.click("#submit")
    seen.finished()
    jobs = [job(seen, each) for each in job_ids(seen)]
    rows = seen.page.locator(".stages tbody tr").all_inner_texts()
    told = [[float(cell) for cell in re.findall(r"([\d.]+) s", row)] for row in rows]
    stages = ("encode", "denoise", "decode", "mp4")
    for stage, row in zip(stages, told, strict=False):
        assert row == [about(each["timings"][stage]) for each in jobs]
    together = [sum(each["timings"][stage] for stage in stages) for each in jobs]
    assert told[4] == [about(seconds) for seconds in together]
    widths = seen.page.locator(".bar").evaluate_all(
        "(bars) => bars.map((bar) => [...bar.children].reduce((sum, part) => sum + part.offsetWidth, 0))"
    )
    assert widths[0] / widths[1] == pytest.approx(together[0] / together[1], rel=0.05)
    assert f"takes {rounded(jobs[0]['baseline_seconds'])} s here" in seen.page.inner_text(".latency")
    ratio, headline = jobs[0]["speedup"], seen.page.inner_text(".speedup")
    assert f"{ratio:.1f} times as fast" in headline or ratio < 1.05 or "Too busy" in headline
    with seen.page.expect_download() as download:
        seen.page.click(".download >> nth=0")
    assert download.value.suggested_filename == f"vdmini-vdmini-seed-{jobs[0]['seed']}.mp4"
    assert hashlib.sha256(download.value.path().read_bytes()).hexdigest() == jobs[0]["sha256"]


def test_a_waiting_job_tells_its_place_and_survives_a_reload(visit, site):
    seen = visit()
    seen.open()
    seen.ready()
    say(seen, num_inference_steps="16")
    with site.held():
        seen.page.click("#submit")
        expect(seen.page.locator(".standing").first).to_contain_text("Waiting, next in line")
        expect(seen.page.locator(".standing").last).to_contain_text("Waiting, 1 job before this one")
        expect(seen.page.locator("#live")).to_have_text("VDMini waiting; Teacher waiting")
        seen.page.reload()
        expect(seen.page.locator(".standing").first).to_contain_text("Waiting, next in line")
        seen.page.evaluate(
            "window.told = []; new MutationObserver(() => told.push("
            "...[...document.querySelectorAll('.standing')].map((e) => e.textContent)))"
            ".observe(document.getElementById('stage'), {subtree: true, childList: true, characterData: true})"
        )
    seen.finished()
    shares = [int(number) for number in re.findall(r"(\d+) %", " ".join(seen.page.evaluate("told")))]
    assert any(0 < share < 100 for share in shares)
    assert seen.page.locator("video").count() == 2
    expect(seen.page.locator("#live")).to_have_text("VDMini finished; Teacher finished")


def test_cancel_ends_both_jobs_at_once(visit, site):
    seen = visit()
    seen.open()
    seen.ready()
    say(seen, num_inference_steps="16")
    seen.page.click("#submit")
    expect(seen.page.locator(".standing").first).to_contain_text("%")
    with site.held():
        seen.page.click("#cancel")
        expect(seen.page.locator(".standing").last).to_have_text("Cancelled")
    expect(seen.page.locator("#cancel")).to_be_hidden()
    states = [job(seen, each)["status"] for each in job_ids(seen)]
    assert states == ["cancelled", "cancelled"]
    expect(seen.page.locator("#live")).to_have_text("VDMini cancelled; Teacher cancelled")


def test_what_cannot_be_used_is_refused_in_plain_words(visit, photo):
    seen = visit()
    seen.allowed = ["422"]
    seen.open()
    seen.ready()
    seen.page.click("#submit")
    expect(seen.page.locator("#image-problem")).to_contain_text("Choose a picture first")
    assert seen.page.evaluate("document.activeElement.id") == "image"

    seen.page.set_input_files("#image", photo | {"name": "huge.jpg", "buffer": bytes(1_200_000)})
    seen.page.click("#submit")
    expect(seen.page.locator("#image-problem")).to_contain_text(
        "huge.jpg has 1.2 MB; this service takes 1.0 MB at most"
    )
    assert not any("/v1/i2v" in url for url in seen.requests)

    seen.page.set_input_files("#image", photo | {"name": "letter.jpg", "buffer": b"Dear friend, " * 20})
    seen.page.click("#submit")
    expect(seen.page.locator("#form-problem")).to_contain_text("This file cannot be used as a picture")
    expect(seen.page.locator("#form-problem")).to_contain_text("PNG")

    seen.page.set_input_files("#image", photo)
    expect(seen.page.locator("#form-problem")).to_be_empty()
    seen.page.click("details.settings summary")
    seen.page.fill("#fps", "99")
    seen.page.click("#submit")
    expect(seen.page.locator("#fps-problem")).to_have_text("Give a number from 5 to 30.")
    assert seen.page.evaluate("document.activeElement.id") == "fps"
    assert seen.page.locator("#fps").get_attribute("aria-invalid") == "true"

    say(seen, "a red circle " * 30)
    seen.page.click("#submit")
    expect(seen.page.locator("#form-problem")).to_contain_text("The sentence is too long")
    expect(seen.page.locator("#form-problem")).to_contain_text("Shorten it")


def test_settings_that_only_the_service_refuses_are_shown_beside_their_field(visit):
    seen = visit()
    seen.allowed = ["422"]
    seen.open()
    seen.ready()
    say(seen, fps="9")
    seen.page.locator("#fps").evaluate("(field) => { field.max = 99; field.value = 77; }")
    seen.page.click("#submit")
    expect(seen.page.locator("#fps-problem")).to_contain_text("allows 8 to 16")
    expect(seen.page.locator("#form-problem")).to_contain_text("A setting is outside what this model can do")


def test_pictures_can_be_dropped_and_pasted(visit):
    seen = visit()
    seen.open()
    seen.ready()
    seen.page.check("#task-t2v", force=True)
    give = """async ([kind, name]) => {
      const blob = await (await fetch('/page/samples/rocket.jpg')).blob();
      const data = new DataTransfer();
      data.items.add(new File([blob], name, {type: blob.type}));
      const event = kind === 'drop' ? new DragEvent(kind, {dataTransfer: data, bubbles: true})
                                    : new ClipboardEvent(kind, {clipboardData: data, bubbles: true});
      document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        seen.page.evaluate(give, [kind, f"{kind}.jpg"])
        expect(seen.page.locator("#picture-name")).to_contain_text(f"{kind}.jpg, 7 kB")
        assert seen.page.evaluate("document.getElementById('picture-preview').complete")
    expect(seen.page.locator("#from-picture")).to_be_visible()


def test_the_keyboard_alone_is_enough(visit):
    seen = visit(reduced_motion="reduce")
    seen.open()
    seen.ready()
    page = seen.page

    def focus_on(selector, key="Tab", most=25):
        for _ in range(most):
            page.keyboard.press(key)
            shown = page.evaluate(
                "(() => { const e = document.activeElement, near = e.matches('.segmented input') ? e.nextElementSibling"
                " : e.closest('.drop') ?? e; return getComputedStyle(near).outlineStyle })()"
            )
            assert shown != "none", page.evaluate("document.activeElement.outerHTML")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} was not reached")

    focus_on("[name=task]")
    page.keyboard.press("ArrowRight")
    focus_on("#prompt")
    page.keyboard.type(SENTENCE)
    focus_on("#submit")
    page.keyboard.press("Enter")
    seen.finished()
    focus_on(".play", most=40)
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")  # calm was asked for
    expect(page.locator(".play")).to_have_text("Play")
    page.keyboard.press("Space")
    seen.until("[...document.querySelectorAll('video')].every((v) => v.currentTime > 0.2 && !v.paused)")
    page.keyboard.press("Space")
    focus_on(".player-controls [type=range]")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.locator(".player-controls [type=range]").get_attribute("aria-valuetext") == "frame 2 of 8"
    times = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.currentTime)")
    assert times == [pytest.approx(1.5 / 8, abs=0.01)] * 2


def test_a_clip_can_be_made_again_from_its_copied_requests(visit, tmp_path):
    seen = visit()
    seen.open()
    seen.ready()
    say(seen, seed="11")
    seen.page.uncheck("#compare")
    seen.page.click("#submit")
    seen.finished()
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.click(".snippets summary")
    (job_id,) = job_ids(seen)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    for language, command in (("curl", ["bash", "-c"]), ("python", [sys.executable, "-c"])):
        seen.page.click(f"[data-language={language}] button")
        expect(seen.page.locator(f"[data-language={language}] .copied")).to_have_text("Copied")
        text = seen.page.evaluate("navigator.clipboard.readText()")
        subprocess.run([*command, text], cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True)
        made = hashlib.sha256((tmp_path / "clip.mp4").read_bytes()).hexdigest()
        assert made == job(seen, job_id)["sha256"]
        (tmp_path / "clip.mp4").unlink()


def test_earlier_clips_are_there_after_a_reload_and_say_when_they_have_expired(visit):
    seen = visit()
    seen.allowed = ["404"]
    seen.open()
    seen.ready()
    say(seen, seed="5")
    seen.page.uncheck("#compare")
    seen.page.click("#submit")
    seen.finished()
    seen.open("/#")
    seen.page.reload()
    seen.ready()
    assert seen.page.locator("video").count() == 0
    expect(seen.page.locator(".earlier-entry img")).to_be_visible()
    seen.page.click(".earlier-entry")
    seen.page.wait_for_selector("video")
    (job_id,) = job_ids(seen)
    seen.page.reload()
    seen.finished()
    seen.page.click("#again")
    assert (seen.page.input_value("#prompt"), seen.page.input_value("#seed")) == (SENTENCE, "5")

    httpx.delete(f"{seen.address}/v1/videos/{job_id}", trust_env=False).raise_for_status()
    seen.page.reload()
    expect(seen.page.locator("#stage .problem")).to_contain_text("The service no longer knows this clip")
    seen.page.click("#forget")
    expect(seen.page.locator("#earlier")).to_be_hidden()
    assert seen.page.evaluate("localStorage.getItem('vdmini.runs')") is None
