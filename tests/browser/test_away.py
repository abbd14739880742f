"""What the playground says while the service is away, starting, or wants a key."""

from contextlib import ExitStack

import httpx
from playwright.sync_api import expect
from redis import Redis

from vdmini_serve.access_keys import KeyRing

SENTENCE = "a blue square moving up slowly on a white background"


def say(page):
    page.check("#task-t2v", force=True)
    page.fill("#prompt", SENTENCE)
    page.uncheck("#compare")


def test_a_service_that_stops_and_comes_back_is_told_and_the_clip_still_arrives(visit, site, ports, address):
    port = ports()
    with ExitStack() as first:
        seen = visit(first.enter_context(site.api(port)))
        seen.allowed = ["ERR_", "Failed to load resource"]
        seen.open()
        seen.ready()
        say(seen.page)
        with site.held():
            seen.page.click("#submit")
            expect(seen.page.locator(".standing")).to_contain_text("Waiting")
            first.close()
            expect(seen.page.locator(".standing")).to_have_text("Connection lost; trying again …")
    seen.page.click("#submit")
    expect(seen.page.locator("#form-problem")).to_contain_text("The service cannot be reached")
    expect(seen.page.locator("#notice")).to_contain_text("This page tries again by itself")
    with site.api(port):
        seen.finished()
        expect(seen.page.locator("#notice")).to_be_hidden()
        seen.until("document.querySelector('video').currentTime > 0")


def test_a_service_without_a_worker_says_so(visit, site, ports):
    elsewhere = {name: site.environment[f"VDMINI_{name}"][:-1] + "5" for name in ("JOBS_URL",)}
    with site.api(ports(), **elsewhere) as url:
        seen = visit(url)
        seen.allowed = ["503"]
        seen.open()
        expect(seen.page.locator("#notice")).to_contain_text("No worker is running")
        assert seen.page.locator("#submit").is_disabled()


def test_a_key_is_asked_for_kept_in_this_tab_and_sent_as_a_header_only(visit, site, ports, address):
    with Redis.from_url(site.environment["VDMINI_JOBS_URL"], decode_responses=True) as redis:
        key = KeyRing(redis).add("a visitor", rate=None, max_active_jobs=None, priority="normal")
    with site.api(ports(), REQUIRE_API_KEY="true") as url:
        seen = visit(url)
        seen.allowed = ["401"]
        seen.open()
        expect(seen.page.locator("#key-reason")).to_contain_text("asks for an API key")
        assert seen.page.evaluate("document.activeElement.id") == "key"
        seen.page.keyboard.type("vdm_wrong")
        seen.page.keyboard.press("Enter")
        expect(seen.page.locator("#key-reason")).to_contain_text("not known here")
        seen.page.fill("#key", key)
        seen.page.click("#key-form button")
        seen.ready()
        say(seen.page)
        seen.page.click("#submit")
        seen.finished()
        seen.until("document.querySelector('video').currentTime > 0")
        assert "Bearer $VDMINI_API_KEY" in seen.page.locator("[data-language=curl] pre").text_content()
        assert key not in seen.page.content() + seen.page.url + "".join(seen.requests)
        assert key not in seen.page.evaluate("JSON.stringify(localStorage)")
        seen.page.reload()
        seen.finished()
        expect(seen.page.locator("#key-form")).to_be_hidden()
        other = seen.page.context.new_page()
        other.goto(url)
        expect(other.locator("#key-form")).to_be_visible()
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 401
