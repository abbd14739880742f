"""The pages' files: how they are served, what the browser is told about them, and that they are all there."""

import re
import subprocess
import sys
import zipfile

import pytest

from vdmini_serve.api.page import PAGES, page_files
from vdmini_serve.contract.request import ImageToVideoRequest, TextToVideoRequest

FILES = page_files()


@pytest.fixture
def client(serve_api):
    return serve_api()


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_held_to_its_own_origin(client, address):
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert (policy.pop("default-src"), policy.pop("frame-ancestors")) == ("'none'", "'none'")
    allowed = {source for name, sources in policy.items() if name.endswith("-src") for source in sources.split()}
    assert allowed == {"'self'", "blob:"}
    assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert "camera=()" in answer.headers["permissions-policy"]


def test_a_file_that_the_browser_has_already_is_not_sent_again(client):
    first = client.get("/page/script/player.js")
    assert (first.headers["content-type"], first.headers["cache-control"]) == (
        "text/javascript; charset=utf-8",
        "no-cache",
    )
    again = client.get("/page/script/player.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    changed = client.get("/page/script/player.js", headers={"If-None-Match": '"another"'})
    assert changed.content == first.content
    head = client.head("/page/script/player.js")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(first.content)))


@pytest.mark.parametrize("path", ["script/none.js", "index.html", "../api/page.py", "%2e%2e/api/page.py", "", "script"])
def test_nothing_else_is_served(client, path):
    answer = client.get(f"/page/{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:vdmini:problem:unknown-route")


def test_the_pages_need_no_key_and_are_no_part_of_the_api(serve_api):
    client = serve_api(require_api_key=True)
    assert {client.get(address).status_code for address in PAGES} == {200}
    assert client.get("/v1/models").status_code == 401
    assert not [path for path in client.get("/openapi.json").json()["paths"] if path.startswith(("/page", "/docs"))]


def test_all_that_a_file_names_is_there_and_nothing_comes_from_elsewhere():
    for name, file in FILES.items():
        if not name.endswith((".html", ".js", ".css")):
            continue
        text = file.content.decode()
        addresses = set(re.findall(r"https?://[^\s\"'`<]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, name
        linked = re.findall(r"[\"'`]/page/([^\"'`$]+)[\"'`]", text)
        imported = [f"script/{each}" for each in re.findall(r"(?:from|import) \"\./([^\"]+)\"", text)]
        assert set(linked + imported) <= set(FILES), name


@pytest.mark.parametrize("name", PAGES.values())
def test_a_page_has_nothing_inline(name):
    text = FILES[name].content.decode()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:|<script(?![^>]*src=)", text)


def test_the_bounds_of_the_form_are_those_of_the_service():
    """Of fields that models leave alone, the page has the API's bounds."""
    text = FILES["script/settings.js"].content.decode()
    found = re.findall(r"(\w+): \{ min: ([\d.]+), max: ([\d. *-]+), step", text)
    assert {name for name, *_ in found} == {"guidance_scale", "motion_bucket_id", "noise_aug_strength", "seed"}
    for name, low, high in found:
        kind = TextToVideoRequest if name in TextToVideoRequest.model_fields else ImageToVideoRequest
        schema = kind.model_json_schema()["properties"][name]["anyOf"][0]
        numbers = [int(part) for part in re.findall(r"\d+", high)]
        most = numbers[0] ** numbers[1] - numbers[2] if "**" in high else numbers[0]
        assert (schema["minimum"], schema["maximum"]) == (float(low), most), name


def test_a_wheel_contains_every_file_of_the_pages(root, tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("vdmini_serve/page/") for name in archive.namelist() if "/page/" in name}
    assert packed == set(FILES)
