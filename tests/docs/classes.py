"""Which test runs a document's commands, and which commands none can run, with the reason."""

RUN_BY: dict[str, tuple[str, ...]] = {
    "README.md": ("tests/service/test_docs.py",),
    "CONTRIBUTING.md": ("tests/docs/test_commands.py",),
    "docs/add-a-teacher.md": ("tests/compression/test_add_a_teacher.py",),
    "docs/capacity.md": ("tests/docs/test_commands.py",),
    "docs/client.md": ("tests/service/test_client_page.py",),
    "docs/first-teacher.md": ("tests/docs/test_first_teacher.py", "tests/service/test_docs.py"),
    "docs/service.md": ("tests/service/test_docs.py",),
    "docs/troubleshooting.md": ("tests/docs/test_commands.py",),
}
"""Document -> the tests that run its `bash` and `python` blocks, and that must name it."""

ELSEWHERE: dict[str, str] = {
    "docker/": "tests/deploy",
    "k8s/": "tests/deploy",
    "docs/runbooks.md": "tests/deploy",
    "docs/api.md": "tests/service",
}
"""Document, or folder of documents -> where tests of its own are: deployments need programs and time, and a generated
page shows examples that are held against their schemas. Its commands are not looked at here."""

NOT_RUN: dict[str, str] = {
    "make demo": "CI's time: it is the commands of docs/first-teacher.md for both teachers, which are run",
    "make test": "these are the tests",
    "make gpu": "needs a GPU; tests/benchmarks runs what can be without one",
    "make check": "CI runs it before the tests",
    "scripts/setup.sh": "it makes the environment that the tests run in: CI runs it with `make test`",
    "export PATH=": "changes the reader's own shell",
    "hf download": "needs the network and gigabytes of published weights",
    "vdmini-serve up": "runs until Ctrl-C; every test in tests/service is served by one",
}
"""How a command begins -> why it is neither run nor held against a parser. `vdmini-compress` and `vdmini-serve` need no
row: those in blocks that are not run must at least be taken by their parsers."""


def place_of(document: str, table: dict[str, str]) -> str | None:
    """What a table says of a document or of its folder."""
    return next((said for place, said in table.items() if document == place or document.startswith(place)), None)
