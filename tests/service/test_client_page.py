"""docs/client.md: every snippet runs against the service, one after the other, as a reader would."""

import re
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import vdmini_client

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text()


def test_the_snippets_of_the_clients_page_work(service, tmp_path, monkeypatch, capsys):
    Image.fromarray(data.chelsea()).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    for snippet in snippets:
        exec(compile(snippet.replace("http://127.0.0.1:8000", service.url), "docs/client.md", "exec"), names)
    for name in ("photo", "square", "moving", "spoken"):
        assert b"ftyp" in (tmp_path / f"{name}.mp4").read_bytes()[:12]
    printed = capsys.readouterr().out
    assert "100%" in printed
    (promised,) = re.findall(r"# outside-limits \.\.\. (.*)", PAGE)
    assert f"outside-limits Outside limits: {promised}" in printed


@pytest.mark.parametrize("name", re.findall(r"`(\w+Error)`", PAGE))
def test_every_error_of_the_page_exists(name):
    assert issubclass(getattr(vdmini_client, name), vdmini_client.VDMiniError)


def test_the_page_names_every_error():
    kinds = {name for name in vdmini_client.__all__ if name.endswith("Error")} - {"ServiceError"}
    assert kinds <= set(re.findall(r"`(\w+Error)`", PAGE))
