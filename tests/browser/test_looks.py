"""Wide and narrow, light and dark: what the pages look like, as far as a machine can tell."""

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import expect

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
RULES = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},  # nothing else differs
}


def serious(page, scheme):
    """What axe-core finds to be serious or worse."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("async (options) => (await axe.run(document, options)).violations", RULES[scheme])
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_playground_is_accessible_in_every_state_and_never_wider_than_a_phone(visit, scheme):
    seen = visit(width=360, height=740, color_scheme=scheme)
    page = seen.page
    seen.open()
    seen.ready()
    assert serious(page, scheme) == []
    page.click("#submit")
    page.click("details.settings summary")
    assert serious(page, scheme) == []
    page.click("[data-sample='triangle.png']")
    page.click("#submit")
    seen.finished()
    page.click(".snippets summary")
    assert serious(page, scheme) == []
    for width in (360, 768, 1440):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_shows_every_route_without_a_network(visit, scheme):
    seen = visit(width=360, height=740, color_scheme=scheme)
    seen.open("/docs")
    seen.page.wait_for_selector(".route")
    document = seen.page.evaluate("fetch('/openapi.json').then((answer) => answer.json())")
    operations = sum(len(set(route) & {"get", "post", "delete"}) for route in document["paths"].values())
    assert seen.page.locator(".route").count() == operations
    seen.page.fill("#search", "motion_bucket_id")
    shown = seen.page.locator(".route:not([hidden]) > summary code").all_inner_texts()
    assert "/v1/i2v" in shown
    assert "/readyz" not in shown
    seen.page.locator("[id='post/v1/i2v'] > summary").click()
    expect(seen.page.locator("[id='post/v1/i2v']")).to_contain_text("amount of motion")
    assert serious(seen.page, scheme) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_models_and_votes_are_accessible_and_fit_a_phone(visit, scheme):
    seen = visit(width=360, height=740, color_scheme=scheme)
    for path, there, opened in (
        ("/models", ".model-list", None),
        ("/models/small-i2v-vdmini", "#how-it-was-made", "details"),
        ("/compare", "#make-pair:not([disabled])", "#standings-box"),
    ):
        seen.open(path)
        seen.page.wait_for_selector(there)
        seen.page.wait_for_selector("#vote, #nothing, .card")
        if opened:
            seen.page.locator(opened).evaluate_all("(all) => all.forEach((each) => (each.open = true))")
        assert serious(seen.page, scheme) == []
        for width in (360, 768, 1440):
            seen.page.set_viewport_size({"width": width, "height": 740})
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        seen.page.set_viewport_size({"width": 360, "height": 740})
