"""A service of several processes that may be killed one by one: Redis with an append-only file, replicas, workers.

Each process has a group of its own and is started again as an orchestrator would. What is sent to it is left to others.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.embedded import LOOPBACK, free_port, redis_binary

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 240
SOFT_SHUTDOWN_SECONDS = 20
STUDENTS = tuple(ROOT / "compression/artifacts" / name for name in ("small-i2v", "small-t2v"))


def wait_until(what: Callable[[], bool], *, seconds: float, every: float = 0.05) -> None:
    """Look again and again.

    Raises:
        TimeoutError: when it is still not so after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {seconds} s")
        time.sleep(every)


@dataclass
class Member:
    """One process of the fleet.

    Args:
        name: of the process and of its log.
        command: that starts it.
        environment: of the process.
        log: file that takes what it says.
        process: the running one.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, again if it was killed."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process.pid

    def child(self) -> int | None:
        """Process id of the newest child, which is the one that holds a worker's models."""
        try:
            children = psutil.Process(self.pid).children()
            return max(children, key=lambda each: each.create_time()).pid if children else None
        except psutil.NoSuchProcess:
            return None

    def kill(self) -> None:
        """SIGKILL the whole group and wait for its end."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def memory_bytes(self) -> int:
        """Resident memory of the process without its children."""
        return int(psutil.Process(self.pid).memory_info().rss)


@dataclass
class Fleet:
    """The running service.

    Args:
        folder: of its files.
        redis: the store.
        apis: replicas with their addresses.
        workers: each with one child.
        jobs_url: of the jobs' database.
        guard: held while a process is replaced.
    """

    folder: Path
    redis: Member
    apis: dict[str, Member]
    workers: list[Member]
    jobs_url: str
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def members(self) -> list[Member]:
        """All processes, the store first."""
        return [self.redis, *self.apis.values(), *self.workers]

    @property
    def results(self) -> Path:
        """Folder of the MP4s."""
        return self.folder / "data/results"

    def restart_the_dead(self) -> list[str]:
        """Start again what has ended by itself; names of those."""
        with self.guard:
            dead = [each for each in self.members if each.process is not None and each.process.poll() is not None]
            for each in dead:
                each.start()
            return [each.name for each in dead]

    def wait_for_redis(self) -> None:
        """Until the store answers."""
        with Redis.from_url(self.jobs_url) as client:
            wait_until(lambda: _answers(client), seconds=30)

    def ready_workers(self) -> int:
        """How many workers say that they take jobs."""
        try:
            answer = httpx.get(f"{next(iter(self.apis))}/readyz", timeout=5, trust_env=False).json()
            return sum(beat["state"] in ("idle", "busy") for beat in answer["workers"])
        except (httpx.HTTPError, KeyError, ValueError):
            return 0


def _answers(client: "Redis") -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


@contextmanager
def running(
    *,
    apis: int = 1,
    workers: int = 1,
    artifacts: Sequence[Path] = STUDENTS,
    settings: Mapping[str, str] | None = None,
    keep_logs: Path | None = None,
) -> Iterator[Fleet]:
    """A fleet that is gone at the end.

    Args:
        apis: replicas.
        workers: each with all the artifacts.
        artifacts: folders of the models.
        settings: `VDMINI_` variables.
        keep_logs: folder that gets the processes' logs.
    """
    with tempfile.TemporaryDirectory(prefix="vdmini-load-", ignore_cleanup_errors=True) as name:
        former = signal.signal(signal.SIGTERM, _interrupt)
        fleet = _plan(Path(name), apis, workers, artifacts, settings or {}, keep_logs or Path(name))
        try:
            fleet.redis.start()
            fleet.wait_for_redis()
            for each in (*fleet.apis.values(), *fleet.workers):
                each.start()
            wait_until(lambda: fleet.ready_workers() == workers, seconds=START_SECONDS, every=0.2)
            yield fleet
        finally:
            for each in reversed(fleet.members):
                if each.process is not None:
                    each.kill()
            signal.signal(signal.SIGTERM, former)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _plan(
    folder: Path, apis: int, workers: int, artifacts: Sequence[Path], settings: Mapping[str, str], logs: Path
) -> Fleet:
    port, password = free_port(), secrets.token_hex(16)
    config = folder / "redis.conf"
    lines = [f"bind {LOOPBACK}", f"port {port}", f"requirepass {password}", f"dir {folder}", 'save ""']
    config.write_text("\n".join([*lines, "appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"]))
    url = f"redis://:{password}@{LOOPBACK}:{port}/"
    environment = _environment(folder, url, artifacts) | settings
    serve = [sys.executable, "-m", "vdmini_serve.cli"]
    logs.mkdir(parents=True, exist_ok=True)

    def member(name: str, command: Sequence[str]) -> Member:
        return Member(name, command, environment, logs / f"{name}.log")

    ports = [free_port() for _ in range(apis)]
    return Fleet(
        folder,
        member("redis", [redis_binary(), str(config)]),
        {
            f"http://{LOOPBACK}:{at}": member(f"api-{i}", [*serve, "api", "--port", str(at)])
            for i, at in enumerate(ports)
        },
        [member(f"worker-{i}", [*serve, "worker"]) for i in range(workers)],
        url + "1",
    )


def _environment(folder: Path, url: str, artifacts: Sequence[Path]) -> dict[str, str]:
    packages = os.pathsep.join(str(ROOT / part) for part in ("model", "compression", "service"))
    return {
        **os.environ,
        "PYTHONPATH": packages,
        "TMPDIR": str(folder),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "VDMINI_BROKER_URL": url + "0",
        "VDMINI_JOBS_URL": url + "1",
        "VDMINI_DATA_DIR": str(folder / "data"),
        "VDMINI_ARTIFACTS": os.pathsep.join(map(str, artifacts)),
        "VDMINI_BASELINE_RUNS": "1",
        "VDMINI_SOFT_SHUTDOWN_SECONDS": str(SOFT_SHUTDOWN_SECONDS),
    }
