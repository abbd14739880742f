"""What all tests share: the committed artifacts, and the rule that CI skips nothing."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from vdmini.engine import Engine

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


class Groups(LoadScopeScheduling):
    """Tests of one group share a process, and with it what their session's fixtures made.

    Marks would say so, too, but xdist 3.8 loses them under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        for whole in ("tests/service/", "tests/browser/", "tests/deploy/docker/", "tests/deploy/monitoring/"):
            if whole in path:
                return whole
        return " ".join([path, *(task for task in TEACHERS if re.search(rf"[\[-]{task}[]-]", test))])


HEAVY = (
    "tests/deploy/docker/",
    "tests/service/",
    "tests/browser/",
    "tests/deploy/monitoring/",
    "test_first_teacher",
    "test_sharding",
    "test_job.py",
    "test_teachers",
    "test_decoder.py",
    "test_video_job",
)
"""What takes a minute or so begins first, or one process ends with it while the other has nothing left to do."""


LIBRARY_BOUND = re.compile(
    r"test_(cost|student|recompute|seeing)\.py"
    r"|test_planning\.py::test_(a_report|a_pairs_only|the_folder|a_small_teacher)"
    r"|test_decoder\.py.*temporal"
    r"|test_(importance|plans|blocks|preflight|job)\.py.*[\[-]t2v"
    r"|test_teachers\.py::test_a_(teacher_builds|text_encoder)"
    r"|test_video_yardstick\.py::test_a_block"
    r"|test_recipe_planning\.py::test_a_recipes_dry_run"
    r"|test_video_job\.py"
    r"|test_import(_equals_public|_svd)?\.py"
    r"|test_add_a_teacher\.py::test_(the_engines|all_losses|clips_are|another|guidance)"
    r"|docs/test_first_teacher\.py"
)
"""Tests that spend their time in torch's and diffusers' Python, which the tracer slows, on lines that others show."""


@contextmanager
def untraced_lines() -> Iterator[None]:
    here, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(threads)  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    if not LIBRARY_BOUND.search(item.nodeid):
        return (yield)
    with untraced_lines():
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, part in enumerate(HEAVY) if part in item.nodeid), len(HEAVY)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell starts what runs in the background deaf to Ctrl-C, and what it starts is so, too; some tests send one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def untraced() -> dict[str, str]:
    """An environment for processes whose lines coverage needn't see again: its tracer slows them by half."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads than on one."""
    import torch  # not above: the process that only hands out tests would wait for it, too

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
def teacher_engine(teacher_folder: Path) -> "Engine":
    from vdmini.engine import load_engine  # not above: the process that only hands out tests would wait for torch, too

    return load_engine(teacher_folder, device="cpu", dtype="float32")
