"""Links and pictures of all documents lead somewhere, and tests and settings that they name exist."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from documents import ROOT, anchors, documents, links, text_of

STORES = (
    "pypi.org",
    "pythonhosted.org",
    "pytorch.org/whl",
    "npmjs",
    "docker.io",
    "ghcr.io",
    "quay.io",
    "debian.org",
    "mirror",
)
"""Where packages come from is a machine's own setting, not a document's."""
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
LONGEST_NAME = 60


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_to_a_file_a_heading_or_a_well_formed_address(document: str) -> None:
    assert [link for link in links(document) if not leads_somewhere(document, link)] == []


def leads_somewhere(document: str, link: str) -> bool:
    if ":" in link.partition("/")[0]:
        parts = urlsplit(link)
        host = parts.hostname or ""
        return parts.scheme == "https" and "." in host and not any(store in link for store in STORES)
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    if not target.exists() or ROOT not in target.resolve().parents:
        return False
    if not anchor:
        return True
    return target.suffix == ".md" and anchor in anchors(target.resolve().relative_to(ROOT).as_posix())


def test_wrong_links_are_seen() -> None:
    wrong = (
        "nowhere.md",
        "limits.md#nothing",
        "../../etc",
        "http://arxiv.org/abs/1",
        "https://pypi.org/x",
    )
    assert [link for link in wrong if leads_somewhere("docs/README.md", link)] == []
    right = ("limits.md#the-service", "../README.md", "https://arxiv.org/abs/2411.18375")
    assert all(leads_somewhere("docs/README.md", link) for link in right)


@pytest.mark.parametrize("document", documents())
def test_every_test_that_a_document_names_exists(document: str) -> None:
    for name, test in TEST.findall(text_of(document)):
        assert (ROOT / name).is_file(), name
        assert not test or f"def {test}(" in (ROOT / name).read_text(), f"{name}::{test}"


@pytest.mark.parametrize("document", documents())
def test_every_setting_that_a_document_names_exists(document: str) -> None:
    if document.startswith(("docker/", "k8s/")):
        return  # a deployment has variables of its own
    known = set(re.findall(r"`(VDMINI_\w+)`", text_of("docs/settings.md"))) | {"VDMINI_API_KEY", "VDMINI_NO_SKIPS"}
    assert set(re.findall(r"\bVDMINI_[A-Z_]+[A-Z]\b", text_of(document))) - known - prefixes(known) == set()


def prefixes(known: set[str]) -> set[str]:
    """`VDMINI_ARTIFACTS(_DIR)` names two."""
    return {name.rpartition("_")[0] for name in known}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs").rglob("*.png")) + sorted((ROOT / "docs").rglob("*.svg")), ids=lambda p: p.name
)
def test_every_picture_is_small_and_shown_somewhere(path: Path) -> None:
    assert path.stat().st_size < 500_000
    assert any(link.endswith(path.name) for document in documents() for link in links(document))


def test_every_page_is_in_the_index() -> None:
    listed = {link.partition("#")[0] for link in links("docs/README.md")}
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - listed == set()
