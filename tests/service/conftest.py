"""A real Redis for the job store's tests, and one whole running service for all others."""

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from redis import Redis
from starlette.testclient import TestClient

from vdmini_serve.api.app import create_app
from vdmini_serve.contract.model import ModelDescriptor, WorkerBeat
from vdmini_serve.contract.settings import Settings
from vdmini_serve.embedded import Processes, StopSignal, start_redis
from vdmini_serve.up import default_artifacts
from vdmini_serve.worker.models import verified
from vdmini_serve.worker.store import WorkerStore

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that runs in this process sets logging up, and its handler keeps a stream that pytest closes."""
    root, ours = logging.getLogger(), logging.getLogger("vdmini_serve")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(scope="session")
def artifact_folders() -> tuple[Path, ...]:
    """The repository's small models, compressed ones and teachers."""
    given = os.environ.get("VDMINI_TEST_ARTIFACTS")
    folders = tuple(map(Path, given.split(os.pathsep))) if given else default_artifacts()
    assert len(folders) >= 4, "the small artifacts and teachers are missing under compression/"
    return folders


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], bool], *, seconds: float, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(every)


@dataclass(frozen=True)
class Running:
    """A service that `vdmini-serve up` started."""

    process: subprocess.Popen[str]
    client: httpx.Client
    url: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.folder)

    def post(self, task: str, **fields: object) -> httpx.Response:
        """JSON, answered at once with a job."""
        return self.client.post(f"/v1/{task}", json=fields, headers={"Prefer": "respond-async"})

    def job(self, job_id: str) -> dict[str, object]:
        found: dict[str, object] = self.client.get(f"/v1/jobs/{job_id}").json()
        return found

    def finished(self, job_id: str, *, seconds: float = 120) -> dict[str, object]:
        wait_for(lambda: self.job(job_id)["status"] not in ("queued", "running"), seconds=seconds)
        return self.job(job_id)

    def metric(self, name: str, **labels: str) -> float:
        """Sum over the samples of a metric that have these labels."""
        lines = self.client.get("/metrics").text.splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        heads = (f"{name}{{", f"{name} ")
        found = [line for line in lines if line.startswith(heads) and all(part in line for part in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def environment(folder: Path) -> dict[str, str]:
    """One thread: on shared cores the threads of a small model mostly wait for each other."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("model", "compression", "service"))
    ours = {"PYTHONPATH": paths, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **ours}


def start(folder: Path, *arguments: str, port: int, traced: bool = True, **extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vdmini_serve.cli", "up", "--port", str(port), *arguments]
    variables = {n: v for n, v in environment(folder).items() if traced or not n.startswith("COVERAGE_PROCESS_")}
    output = (folder.parent / f"{folder.name}.log").open("w")
    with output:
        return subprocess.Popen(command, env=variables | extra, stdout=output, stderr=subprocess.STDOUT, text=True)


def log_of(folder: Path) -> str:
    return (folder.parent / f"{folder.name}.log").read_text()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, artifact_folders: tuple[Path, ...]) -> Iterator[Running]:
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    chosen = [part for path in artifact_folders for part in ("--artifact", str(path))]
    limits = {"VDMINI_MAX_UPLOAD_BYTES": "1000000", "VDMINI_LEASE_SECONDS": "4", "VDMINI_HEARTBEAT_SECONDS": "1"}
    logs = {"VDMINI_LOG_LEVEL": "info"}
    watched = {"VDMINI_ARTIFACTS_DIR": str(folder / "artifacts"), "VDMINI_ARTIFACTS_SCAN_SECONDS": "0.5"}
    process = start(
        folder, *chosen, port=port, VDMINI_BASELINE_RUNS="1", VDMINI_SHADOW_SHARE="1", **limits, **watched, **logs
    )
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        try:
            wait_for(lambda: process.poll() is not None or is_ready(client), seconds=START_SECONDS, every=0.2)
            assert process.poll() is None, log_of(folder)
            yield Running(process, client, url, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        assert "Ctrl+C" not in log_of(folder), "a library speaks to the user when the service ends"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    processes = Processes(StopSignal())
    try:
        url = start_redis(processes, tmp_path_factory.mktemp("redis")) + "1"
        with Redis.from_url(url) as client:
            wait_for(lambda: _answers(client), seconds=15)
        yield url
    finally:
        processes.close()


@dataclass(frozen=True)
class LoneApi:
    """An API without a worker: tests do the worker's part, so that nothing happens before they say so."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    url: str
    settings: Settings
    worker: WorkerStore
    models: tuple[ModelDescriptor, ...]

    def submit(self, **fields: object) -> str:
        """Accept a text-to-video job."""
        asked = {"prompt": "a red circle moves to the right", **fields}
        return str(self.client.post("/v1/t2v", json=asked, headers={"Prefer": "respond-async"}).json()["id"])


@pytest.fixture
def start_api(
    redis_url: str, artifact_folders: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], LoneApi]]:
    """Starts an API on databases of its own, which takes jobs for the small models."""
    with ExitStack() as started:

        def go() -> LoneApi:
            return started.enter_context(_lone_api(redis_url[:-1], artifact_folders, tmp_path_factory.mktemp("api")))

        yield go


@pytest.fixture(scope="module")
def lone_api(
    redis_url: str, artifact_folders: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoneApi]:
    with _lone_api(redis_url[:-1], artifact_folders, tmp_path_factory.mktemp("api")) as api:
        yield api


@contextmanager
def _lone_api(redis: str, artifacts: tuple[Path, ...], folder: Path) -> Iterator[LoneApi]:
    port, names = free_port(), {"BROKER_URL": redis + "2", "JOBS_URL": redis + "3", "DATA_DIR": str(folder)}
    settings = Settings(**{name.lower(): value for name, value in names.items()})
    settings.results_dir.mkdir()
    url = f"http://127.0.0.1:{port}"
    variables = environment(folder) | {f"VDMINI_{name}": value for name, value in names.items()}
    command = [sys.executable, "-m", "vdmini_serve.cli", "api", "--port", str(port)]
    with (
        Redis.from_url(redis + "3") as jobs,
        httpx.Client(base_url=url, timeout=20, trust_env=False) as client,
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=variables, stdout=log, stderr=log) as process,
    ):
        jobs.flushdb()
        worker, models = WorkerStore(jobs, settings, "me"), verified(artifacts)
        worker.publish_models(models)
        beat = WorkerBeat(id="me", state="idle", models=tuple(model.name for model in models), at=time.time())
        worker.publish_beat(beat)
        try:
            wait_for(lambda: process.poll() is not None or is_ready(client), seconds=60)
            yield LoneApi(process, client, url, settings, worker, models)
        finally:
            process.terminate()
            process.wait(timeout=40)


@pytest.fixture
def redis(redis_url: str) -> Iterator["Redis[bytes]"]:
    """An empty jobs' database."""
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield client


def _answers(client: "Redis[bytes]") -> bool:
    try:
        return bool(client.ping())
    except OSError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("redis"):
            return False
        raise


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG that is neither square nor small."""
    image = Image.radial_gradient("L").resize((200, 120))
    buffer = io.BytesIO()
    Image.merge("RGB", (image, image.rotate(180), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def start_service() -> Callable[..., subprocess.Popen[str]]:
    return start


@pytest.fixture
def read_log() -> Callable[[Path], str]:
    return log_of


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_for


@pytest.fixture
def a_free_port() -> int:
    return free_port()


@pytest.fixture
def serve_api(
    redis_url: str, artifact_folders: tuple[Path, ...], tmp_path: Path
) -> Iterator[Callable[..., TestClient]]:
    """Start an API in this process, with models that a worker is said to have; jobs wait, since there is none."""
    opened: list[TestClient] = []

    def start_api(**changes: object) -> TestClient:
        values = {"broker_url": redis_url[:-1] + "0", "jobs_url": redis_url, "data_dir": tmp_path, **changes}
        settings = Settings.model_validate(values)
        with Redis.from_url(redis_url) as redis:
            redis.flushall()
            store = WorkerStore(redis, settings, "w")
            descriptors = verified(artifact_folders)
            store.publish_models(descriptors)
            names = tuple(descriptor.name for descriptor in descriptors)
            store.publish_beat(WorkerBeat(id="w", state="idle", models=names, device="here", at=time.time() + 60))
        client = TestClient(create_app(settings))
        opened.append(client)
        return client.__enter__()

    yield start_api
    for client in opened:
        client.__exit__(None, None, None)
