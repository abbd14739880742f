"""What the repository's Markdown holds: commands, Python, links, headings. What is done with them is the tests' part.

A `bash` block is run by a test, a `python` block too. Other blocks may hold commands that cannot be run here.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "compression/**/*.md", "docker/**/*.md", "k8s/**/*.md")
SHELL_BLOCKS = ("bash", "sh", "console")
PROGRAMS = re.compile(
    r"(vdmini-\w+|python[\d.]*|make|pip|uv|hf|curl|git|docker|kubectl|torchrun|accelerate|pytest|ruff|apt-get|scripts/\S+)"
)
"""What begins a command in a block that doesn't say that it is for a shell."""


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        document: its path from the repository's root.
        kind: "bash", "python", ...; empty when it doesn't say.
        text: what is in it.
    """

    document: str
    kind: str
    text: str


@dataclass(frozen=True)
class Command:
    """A line for a shell.

    Args:
        document: where it stands.
        line: as it is written, without the comment behind it.
        runs: whether its block says that a test runs it.
    """

    document: str
    line: str
    runs: bool

    @property
    def words(self) -> list[str]:
        """The line's words, the program without its folder, up to where the shell takes over."""
        first, *rest = takewhile(lambda word: word not in (">", ">>", "|", "&&", ";"), shlex.split(self.line))
        return [first.rpartition("/")[2] if ".venv/bin/" in first else first, *rest]

    def __str__(self) -> str:
        return f"{self.document}: {self.line}"


@cache
def documents() -> tuple[str, ...]:
    """All documents, by their paths from the repository's root."""
    found = {path for place in PLACES for path in ROOT.glob(place)}
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in found))


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


@cache
def _tokens(document: str) -> tuple[Token, ...]:
    return tuple(
        MarkdownIt("commonmark").enable("table").parse(re.sub(r"\A---\n.*?\n---\n", "", text_of(document), flags=re.S))
    )


def blocks(document: str) -> list[Block]:
    """Its blocks of code, those that are only indented too."""
    code = (token for token in _tokens(document) if token.type in ("fence", "code_block"))
    return [Block(document, token.info.strip(), token.content) for token in code]


def commands(document: str) -> list[Command]:
    """Its command lines."""
    return [command for block in blocks(document) for command in _commands(block)]


def _commands(block: Block) -> Iterator[Command]:
    if block.kind and block.kind not in SHELL_BLOCKS:
        return
    for written in block.text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\s+#\s.*$", "", written).strip().removeprefix("$ ")
        known = PROGRAMS.match(line.removeprefix(".venv/bin/"))
        if line and not line.startswith("#") and (block.kind or known):
            yield Command(block.document, line, block.kind == "bash")


def snippets(document: str) -> list[Block]:
    """Its blocks of Python."""
    return [block for block in blocks(document) if block.kind == "python"]


def links(document: str) -> list[str]:
    """Where its links and pictures lead."""
    inline = (child for token in _tokens(document) for child in token.children or ())
    found = [
        str(child.attrs.get("href") or child.attrs.get("src"))
        for child in inline
        if child.attrs.keys() & {"href", "src"}
    ]
    html = "".join(token.content for token in _tokens(document) if token.type == "html_block")
    return found + re.findall(r'(?:href|src)="([^"]+)"', html)


@cache
def anchors(document: str) -> frozenset[str]:
    """The names that its headings get on the usual hosts."""
    tokens, names = _tokens(document), list[str]()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            words = "".join(child.content for child in inline.children or ())
            name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            names.append(f"{name}-{names.count(name)}" if name in names else name)
    return frozenset(names)
