"""Which test runs a document's commands, and which commands none can run, with the reason."""

RUN_BY: dict[str, tuple[str, ...]] = {
    "README.md": ("tests/service/test_docs.py",),
    "CONTRIBUTING.md": ("tests/docs/test_commands.py",),
    "docs/add-a-teacher.md": ("tests/compression/test_add_a_teacher.py",),
    "docs/first-teacher.md": ("tests/docs/test_first_teacher.py", "tests/service/test_docs.py"),
    "docs/service.md": ("tests/service/test_docs.py",),
    "docs/troubleshooting.md": ("tests/docs/test_commands.py",),
    "docker/": ("tests/deploy",),
    "k8s/": ("tests/deploy",),
}
"""Document, or folder of documents -> the tests that run its `bash` and `python` blocks; a folder of tests must name
the document."""

NOT_RUN: dict[str, str] = {
    "make demo": "CI's time: it is the commands of docs/first-teacher.md for both teachers, which are run",
    "make test": "these are the tests",
    "make check": "CI runs it before the tests",
    "scripts/setup.sh": "it makes the environment that the tests run in: CI runs it with `make test`",
    "export PATH=": "changes the reader's own shell",
    "hf download": "needs the network and gigabytes of published weights",
    "vdmini-serve up": "runs until Ctrl-C; every test in tests/service is served by one",
}
"""How a command begins -> why it is neither run nor held against a parser. `vdmini-compress` and `vdmini-serve` need no
row: those in blocks that are not run must at least be taken by their parsers."""
