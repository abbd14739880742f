"""Error messages in the troubleshooting page are those of the code, and every problem of the service is in one."""

import ast
import re
from functools import cache

from documents import ROOT, text_of

from vdmini_serve.contract.problem import STATUS, ProblemKind

PAGE = "docs/troubleshooting.md"
SOURCES = ("model", "compression", "service")
OTHERS = {
    "Torch not compiled with CUDA enabled": "torch says it",
    "no kernel image is available": "CUDA says it",
    "torch": "a package",
    "device": "a field of a job",
    "cpu": "a value of it",
}
"""What stands in a first column and is not ours."""


@cache
def spoken() -> str:
    """All texts of our code, with `...` for what is filled in."""
    texts = [path.read_text() for path in (ROOT / "scripts").glob("*.sh")]
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            texts += [_text(node) for node in ast.walk(ast.parse(path.read_text()))]
    return "\n".join(texts)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return str(node.value.id) if isinstance(node.value, ast.Name) and node.value.id == "FILE_NAME" else "..."
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def shown(page: str) -> list[str]:
    """Messages in the first column of a page's tables."""
    rows = re.findall(r"^\| ([^|]*`[^|]*) \|", text_of(page), re.M)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


def kinds() -> set[str]:
    return {kind.value for kind in ProblemKind}


def test_every_message_that_the_page_shows_is_in_the_code() -> None:
    code = spoken().replace("FILE_NAME", "vdmini.json")
    ours = [m for m in shown(PAGE) if m not in OTHERS and m not in kinds() and " " in m]
    assert len(ours) > 30
    missing = [m for m in ours if not all(part.strip() in code for part in m.split("..."))]
    assert missing == []


def test_every_problem_of_the_service_has_a_row_with_its_status() -> None:
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \| (\d{3}) \|", text_of(PAGE), re.M)
    told = {kind: int(status) for names, status in rows for kind in re.findall(r"`([\w-]+)`", names)}
    assert told == {kind.value: STATUS.get(kind, 422) for kind in ProblemKind}
