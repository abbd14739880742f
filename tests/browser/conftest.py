"""Debian's Chromium before a real service: Redis, one worker with the small models, and as many APIs as a test wants.

Everything is of the package's scope: while Playwright runs, no other test of the same process could use asyncio.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from vdmini_serve.embedded import Processes, StopSignal, start_redis
from vdmini_serve.up import default_artifacts

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
CHROMIUM_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run", "--mute-audio"),
]
VIOLATIONS = (
    "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI))"
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed; `scripts/debian_packages.sh` installs what the pages are tested with")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS) as started,
    ):
        yield started


@dataclass
class Site:
    """A running service.

    Args:
        environment: of its processes.
        folder: where logs go.
        worker: its worker.
    """

    environment: dict[str, str]
    folder: Path
    worker: "subprocess.Popen[bytes]"

    @contextmanager
    def api(self, port: int, **settings: str) -> Iterator[str]:
        """One more API; gives its address."""
        variables = self.environment | {f"VDMINI_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "vdmini_serve.cli", "api", "--port", str(port)]
        with (
            (self.folder / f"api-{port}.log").open("ab") as log,
            subprocess.Popen(command, env=variables, stdout=log, stderr=log) as process,
        ):
            try:
                wait_for(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/livez"), seconds=60)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait(timeout=30)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The worker does nothing inside the block, so that jobs stay as they are."""
        os.killpg(self.worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.worker.pid, signal.SIGCONT)


def wait_for(what: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(0.05)


def answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, untraced: dict[str, str], browser: Browser) -> Iterator[Site]:
    folder, processes = tmp_path_factory.mktemp("site"), Processes(StopSignal())
    try:
        redis = start_redis(processes, folder)
        paths = os.pathsep.join(str(ROOT / part) for part in ("model", "compression", "service"))
        environment = untraced | {
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "VDMINI_BROKER_URL": redis + "0",
            "VDMINI_JOBS_URL": redis + "1",
            "VDMINI_DATA_DIR": str(folder / "data"),
            "VDMINI_ARTIFACTS": os.pathsep.join(map(str, default_artifacts())),
            "VDMINI_BASELINE_RUNS": "1",
            "VDMINI_SHADOW_SHARE": "0",
            "VDMINI_MAX_UPLOAD_BYTES": "1000000",
            "VDMINI_LEASE_SECONDS": "30",  # a held worker keeps its job
        }
        processes.start("worker", [sys.executable, "-m", "vdmini_serve.cli", "worker"], env=environment)
        yield Site(environment, folder, processes.running["worker"])
    finally:
        processes.close()


@pytest.fixture(scope="package")
def ports() -> Callable[[], int]:
    def free() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return free


@pytest.fixture(scope="package")
def address(site: Site, ports: Callable[[], int]) -> Iterator[str]:
    """Of an API that needs no key, with a worker that is ready."""
    with site.api(ports()) as url:
        wait_for(lambda: answers(f"{url}/readyz"), seconds=START_SECONDS)
        yield url


@dataclass
class Visit:
    """A page, and all that went on in it.

    Args:
        page: the page.
        address: where it came from.
        allowed: parts of console messages that a test has caused on purpose.
    """

    page: Page
    address: str
    allowed: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.address + path)

    def ready(self) -> None:
        self.page.wait_for_selector("#fields:not([disabled])")

    def finished(self) -> None:
        self.page.wait_for_selector(".facts", timeout=60_000)

    def until(self, expression: str) -> None:
        """Wait until it is true; Playwright's own way needs eval, which the policy forbids."""
        wait_for(lambda: bool(self.page.evaluate(expression)), seconds=30)

    def check(self) -> None:
        """Nothing but the service was asked, and the browser had nothing to complain of."""
        strange = [url for url in self.requests if not url.startswith((self.address, f"blob:{self.address}", "about:"))]
        assert strange == []
        assert [text for text in self.messages if not any(part in text for part in self.allowed)] == []


VisitFactory = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[VisitFactory]:
    """Makes pages in contexts of their own; each one is checked at the end."""
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def make(url: str = address, *, width: int = 1280, height: int = 900, **options: object) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        context.add_init_script(VIOLATIONS)
        contexts.append(context)
        made = Visit(context.new_page(), url)
        made.page.on("console", lambda said: said.type in ("error", "warning") and made.messages.append(said.text))
        made.page.on("pageerror", lambda error: made.messages.append(str(error)))
        made.page.on("request", lambda request: made.requests.append(request.url))
        visits.append(made)
        return made

    yield make
    for each in visits:
        each.check()
    for context in contexts:
        context.close()
