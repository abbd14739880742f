"""Takes the pictures of the playground that the documents show, from a service that runs on an otherwise idle machine.

vdmini-serve up, then `python scripts/page_pictures.py --url http://127.0.0.1:8000`. It needs Chromium, which gives way
to the service: a user's browser runs on another machine. Even so it slows clips of a tenth of a second on two cores.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
STILL_FRAME = 5
"""The middle of the clip, where it has moved."""
ROUNDS = 3
"""The picture is of the last one, whatever it is: the browser's own start disturbs the first where cores are few."""
SHOW = """(frame) => {
  const scrub = document.querySelector('.player-controls [type=range]');
  scrub.value = frame;
  scrub.dispatchEvent(new Event('input'));
}"""


def main(options: argparse.Namespace) -> int:
    """Take both; the exit code."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.stderr.write("Chromium is missing (Debian: apt-get install chromium)\n")
        return 1
    os.nice(19)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        desktop(browser, options.url)
        phone(browser, options.url)
        browser.close()
    return 0


def desktop(browser: Browser, url: str) -> None:
    """A picture that became two clips, light, the whole page."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce")
    page.goto(url)
    page.wait_for_selector("#fields:not([disabled])")
    page.click("[data-sample='triangle.png']")
    _make(page)
    page.screenshot(path=DOCS / "playground.png", full_page=True)


def phone(browser: Browser, url: str) -> None:
    """A sentence that did, dark, what a phone shows of it."""
    page = browser.new_page(
        viewport={"width": 360, "height": 740}, device_scale_factor=2, color_scheme="dark", reduced_motion="reduce"
    )
    page.goto(url)
    page.wait_for_selector("#fields:not([disabled])")
    page.check("#task-t2v", force=True)
    page.fill("#prompt", "a yellow cross moving down left quickly on a black background")
    _make(page)
    page.locator("#stage").evaluate("(stage) => window.scrollTo(0, stage.offsetTop - 16)")
    page.screenshot(path=DOCS / "playground-phone.png")


def _make(page: Page) -> None:
    for _ in range(ROUNDS):
        page.click("#submit")
        page.wait_for_selector(".facts", state="detached")
        page.wait_for_selector(".facts", timeout=120_000)
        page.wait_for_timeout(1000)
    page.evaluate(SHOW, STILL_FRAME)
    page.wait_for_timeout(500)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the service (default: %(default)s)")
    sys.exit(main(parser.parse_args()))
