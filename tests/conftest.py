"""What all tests share: the committed artifacts, and the rule that CI skips nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vdmini.engine import Engine, load_engine

ROOT = Path(__file__).resolve().parent.parent
TEACHERS = {"i2v": ROOT / "compression/teachers/small-i2v", "t2v": ROOT / "compression/teachers/small-t2v"}
STUDENTS = {"i2v": ROOT / "compression/artifacts/small-i2v", "t2v": ROOT / "compression/artifacts/small-t2v"}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("VDMINI_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and VDMINI_NO_SKIPS forbids that: {report.longrepr}"


def group_of(item: pytest.Item) -> str:
    """Tests of one group share a process, and with it what their session's fixtures made."""
    if "tests/service/" in item.path.as_posix():
        return "service"
    callspec = getattr(item, "callspec", None)
    return f"{item.path.stem} {callspec.params.get('task', '') if callspec else ''}"


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session", params=["i2v", "t2v"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def teacher_folder(task: str) -> Path:
    return TEACHERS[task]


@pytest.fixture(scope="session")
def teacher_engine(teacher_folder: Path) -> Engine:
    return load_engine(teacher_folder, device="cpu", dtype="float32")
