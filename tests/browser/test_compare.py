"""Blind votes in a real browser: two clips in a hidden order, a vote by keyboard, and what is told afterwards."""

import json
import re
from dataclasses import dataclass
from math import floor

import httpx
import pytest
from playwright.sync_api import expect
from redis import Redis

from vdmini_serve.access_keys import KeyRing

LOADED = """document.querySelectorAll('video').length === 2
  && [...document.querySelectorAll('video')].every((video) => video.readyState >= 2)"""
SYNC = """async () => {
  const videos = [...document.querySelectorAll('video')];
  let apart = 0;
  for (const end = performance.now() + 1200; performance.now() < end; ) {
    await new Promise(requestAnimationFrame);
    apart = Math.max(apart, Math.abs(videos[0].currentTime - videos[1].currentTime));
  }
  return {apart, frames: videos.map((video) => video.getVideoPlaybackQuality().totalVideoFrames)};
}"""


@dataclass(frozen=True)
class Booth:
    """An API that asks for keys, and one of them: its clips are this module's only.

    Args:
        url: of the API.
        key: the API key.
    """

    url: str
    key: str

    def ask(self, method, path, **more):
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=90, **more)

    def compared(self):
        return self.ask("GET", "/v1/comparisons").json()["comparisons"]


@pytest.fixture(scope="module")
def booth(site, ports, address):
    with Redis.from_url(site.environment["VDMINI_JOBS_URL"], decode_responses=True) as redis:
        key = KeyRing(redis).add("voters", rate=None, max_active_jobs=None, priority="normal")
    with site.api(ports(), REQUIRE_API_KEY="true") as url:
        yield Booth(url, key)


@pytest.fixture(scope="module")
def pair(booth):
    """Two jobs, the student's first, as the playground makes them."""
    fields = {"prompt": "a red circle moving right slowly on a gray background", "seed": 11}
    jobs = []
    for variant in ("small-t2v-vdmini", "small-t2v-teacher"):
        wait = {"Prefer": "wait=60"}
        made = booth.ask("POST", "/v1/t2v", json={**fields, "variant": variant}, headers=wait)
        jobs.append(booth.ask("GET", f"/v1/jobs/{made.headers['x-vdmini-job']}").json())
    assert booth.ask("POST", "/v1/comparisons", json={"jobs": [job["id"] for job in jobs]}).status_code == 201
    return jobs


@pytest.fixture
def enter(visit, booth):
    """Opens the page as a voter."""

    def opened(voter=None, **options):
        seen = visit(booth.url, **options)
        kept = f"sessionStorage.setItem('vdmini.access-key', '{booth.key}');"
        named = f"localStorage.setItem('vdmini.voter', '{voter}');" if voter else ""
        seen.page.context.add_init_script(kept + named)
        seen.open("/compare")
        return seen

    return opened


def votes(booth):
    """What `/metrics` counts, by question and who was preferred."""
    found = re.findall(
        r'vdmini_votes_total\{model="small-t2v-vdmini",preferred="(\w+)",question="(\w+)",task="t2v"\} ([\d.]+)',
        booth.ask("GET", "/metrics").text,
    )
    return {(question, who): float(count) for who, question, count in found}


def test_the_order_is_told_after_the_vote_only(enter, booth, pair):
    seen, answers = enter(), []
    seen.page.wait_for_selector("#vote")
    seen.page.on("response", lambda answer: answers.insert(0, answer))
    seen.page.reload()
    seen.page.wait_for_selector("#vote")
    seen.until(LOADED)
    played = seen.page.evaluate(SYNC)
    assert played["apart"] <= 1 / 8
    assert min(played["frames"]) >= 6

    ballot_answers = [each for each in answers if "/ballots" in each.url]
    assert len(ballot_answers) == 3  # the ballot and its two clips
    jobs = [job[field] for job in pair for field in ("id", "sha256")]
    for answer in ballot_answers:
        told = answer.body().decode("latin-1") + json.dumps(answer.all_headers()) + answer.url
        assert not [each for each in ("-vdmini", "teacher", "model=", *jobs) if each in told]
    shown = seen.page.evaluate("document.getElementById('ballot').outerHTML")
    assert not re.search("vdmini|teacher|compressed", shown, re.IGNORECASE)
    assert [video.get_attribute("src")[:5] for video in seen.page.locator("video").all()] == ["blob:", "blob:"]

    seen.page.locator("[data-question=looks] input").first.focus()
    before = votes(booth)
    seen.page.keyboard.press("1")
    expect(seen.page.locator("[name=looks][value=left]")).to_be_checked()
    seen.page.keyboard.press("0")
    expect(seen.page.locator("[name=moves][value=same]")).to_be_checked()
    assert seen.page.evaluate("document.activeElement.id") == "vote"
    seen.page.keyboard.press("Enter")
    heading = seen.page.locator("#revealed")
    expect(heading).to_contain_text("Left was the")
    expect(seen.page.locator("#live")).to_have_text(heading.inner_text())
    assert seen.page.evaluate("document.activeElement.id") == "next"
    left = seen.page.locator("figure.clip").first.get_attribute("data-variant")
    assert {"vdmini": "compressed model", "teacher": "teacher"}[left] in heading.inner_text().split(",")[0]
    after = votes(booth)
    assert after["looks", left] == before.get(("looks", left), 0) + 1
    assert after["moves", "same"] == before.get(("moves", "same"), 0) + 1
    assert sum(after.values()) == sum(before.values()) + 2

    (looks,) = [
        each
        for each in booth.ask("GET", "/v1/comparisons").json()["preferences"]
        if (each["model"], each["question"]) == ("small-t2v-vdmini", "looks")
    ]
    seen.page.click("#standings-box summary")
    told = seen.page.locator(".preference[data-question=looks][data-model=small-t2v-vdmini]")
    expect(told).to_contain_text(f"model {floor(100 * looks['rate'] + 0.5)} %")
    seen.page.locator("#next").focus()
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#nothing")).to_contain_text("no pair that you have not voted on")
    seen.page.reload()
    expect(seen.page.locator("#nothing")).to_be_visible()


def test_a_new_pair_is_made_here_and_with_reduced_motion_nothing_plays(enter, booth):
    seen = enter(reduced_motion="reduce", width=360, height=740)
    seen.page.wait_for_selector("#model option", state="attached")
    before = booth.compared()
    seen.page.select_option("#model", "small-i2v-vdmini")
    seen.page.click("#make-pair")
    expect(seen.page.locator("#make-standing")).to_have_text("The pair is ready.", timeout=60_000)
    assert booth.compared() == before + 1
    seen.page.wait_for_selector("#vote")
    seen.until(LOADED)
    assert seen.page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")
    seen.page.uncheck("#vote-keys")
    seen.page.keyboard.press("1")
    assert seen.page.locator("[data-question] input:checked").count() == 0
    assert seen.page.locator("#vote").is_disabled()


def test_a_second_vote_on_the_same_clips_is_refused_and_the_next_pair_comes(enter, booth, pair):
    voter = "ffeeddccbbaa99887766554433221100"
    seen = enter(voter)
    seen.allowed = ["409"]
    seen.page.wait_for_selector("#vote")
    while booth.ask("POST", "/v1/comparisons/ballots", json={"voter": voter}).status_code == 201:
        ballot = booth.ask("POST", "/v1/comparisons/ballots", json={"voter": voter}).json()["id"]
        booth.ask("POST", f"/v1/comparisons/ballots/{ballot}/vote", json={"looks": "same", "moves": "same"})
    seen.page.locator("[name=looks][value=left]").check(force=True)
    seen.page.locator("[name=moves][value=right]").check(force=True)
    seen.page.click("#vote")
    expect(seen.page.locator(".outcome .problem")).to_contain_text("counted already")
    seen.page.click("#next")
    expect(seen.page.locator("#nothing")).to_be_focused()
