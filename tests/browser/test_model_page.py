"""The pages of models in a real browser: every removed block is drawn, and the numbers are the receipt's."""

import re

import httpx
import pytest
from playwright.sync_api import expect


def ask(address, path):
    return httpx.get(address + path, trust_env=False).json()


def test_the_list_leads_to_every_model(visit, address):
    seen = visit()
    seen.open("/models")
    seen.page.wait_for_selector(".model-list")
    names = {model["name"] for model in ask(address, "/v1/models")}
    assert set(seen.page.locator(".model-list a").all_inner_texts()) == names
    seen.page.click("text=small-t2v-vdmini")
    expect(seen.page.locator("h1")).to_have_text("small-t2v-vdmini")
    assert seen.page.title() == "small-t2v-vdmini"
    assert seen.page.locator("nav [aria-current]").inner_text() == "Models"


@pytest.mark.parametrize("name", ["small-i2v-vdmini", "small-t2v-vdmini"])
def test_a_model_shows_what_was_removed_and_what_that_gave(visit, address, name):
    seen = visit()
    seen.open(f"/models/{name}")
    seen.page.wait_for_selector("#how-it-was-made")
    model, receipt = ask(address, f"/v1/models/{name}"), ask(address, f"/v1/models/{name}/receipt")
    gone = seen.page.locator(".unet .gone").evaluate_all("(all) => all.map((each) => each.dataset.block)")
    kept = seen.page.locator(".unet .block:not(.gone)").evaluate_all("(all) => all.map((each) => each.dataset.block)")
    inside = [[block for block in gone if f"{block}.".startswith(f"{part}.")] for part in model["removed_blocks"]]
    assert all(inside)
    assert sorted(gone) == sorted(block for each in inside for block in each)
    assert not [block for block in kept if any(f"{block}.".startswith(f"{part}.") for part in model["removed_blocks"])]
    assert len(gone) + len(kept) == 4 * 2 + 4 * 3 + 2 * 3 + 1  # pairs down and up, samplers, the middle
    assert seen.page.locator(".removed code").all_inner_texts() == model["removed_blocks"]

    told = seen.page.inner_text("#how-long-it-takes")
    assert f"{model['latency'][0]['speedup']:.2f} times as fast" in told
    (row,) = receipt["measured_here"][:1]
    assert f"({row['runs']} run" in told
    marks = seen.page.locator(".scatter >> nth=0").locator(".mark")
    assert marks.count() == len(receipt["importance"]["blocks"]) == 30
    psnr = model["quality"]["vdmini"]["clip_psnr_db"]
    assert f"{psnr:.1f} dB" in seen.page.inner_text("#quality-on-held-out-clips")
    made = seen.page.inner_text("#how-it-was-made")
    assert model["teacher"]["sha256"] in made
    assert model["teacher"]["licence"] in made
    seen.page.click("text=The whole recipe")
    assert f'"plan": "{receipt["recipe"]["plan"]}"' in seen.page.inner_text("#how-it-was-made pre >> nth=0")


def test_a_teacher_says_what_is_not_recorded(visit):
    seen = visit()
    seen.open("/models/small-i2v-teacher")
    seen.page.wait_for_selector("#how-it-was-made")
    assert seen.page.locator(".unet .gone").count() == 0
    expect(seen.page.locator("#what-each-block-is-worth")).to_contain_text("Not recorded in this artifact")
    expect(seen.page.locator("#how-it-was-made")).to_contain_text("small-i2v-vdmini")


def test_a_model_that_is_not_loaded_is_told(visit):
    seen = visit()
    seen.allowed = ["404"]
    seen.open("/models/gold")
    expect(seen.page.locator(".problem")).to_contain_text(
        re.compile("This model is not loaded.*small-i2v-vdmini", re.S)
    )
    expect(seen.page.locator("#model a")).to_have_attribute("href", "/models")
