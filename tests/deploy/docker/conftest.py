"""A dockerd of our own, the three images, and the service as `docker compose up` starts it.

No registry is needed: the base image is a fresh Debian, Redis and Prometheus are this machine's binaries on top of it.
Grafana has no Debian package, so its container is left out. `VDMINI_TEST_DOCKERD` names a folder that shall keep what
was built, for those who run these tests often; it takes 5 GB. What is built is a copy of the checkout, beside which the
environment's wheels are laid (`PIP_FIND_LINKS`), for sites whose builds reach no index with a CPU build of torch.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
BASE = "debian-python:test"
SERVICES = ("redis", "api", "worker", "prometheus")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

STAND_INS = f"""
FROM {BASE} AS redis
RUN groupadd --gid 999 redis && useradd --uid 999 --gid 999 redis && install -d -o redis -g redis /data
COPY redis /
FROM {BASE} AS prometheus
RUN install -d -o 65534 -g 65534 /prometheus
COPY prometheus /
ENTRYPOINT ["prometheus"]
"""
"""What the official images have and compose relies on: users, folders, entry point."""

WITHOUT_GRAFANA = "services: {grafana: {profiles: [cannot-be-had-here]}}\n"


@dataclass(frozen=True)
class Docker:
    """The client, bound to our daemon and to a copy of the checkout."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, check: bool = True, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert not check or ended.returncode == 0, f"{command}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
        return ended

    def __call__(self, *arguments: str, check: bool = True) -> str:
        return self.run("docker", *arguments, check=check).stdout.strip()

    def inspect(self, *what: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self("inspect", *what))
        return found[0]

    def container(self, service: str) -> dict[str, Any]:
        return self.inspect(self("compose", "ps", "--all", "--quiet", service))

    def state(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.container(service)["State"]
        return found


@pytest.fixture(scope="session")
def docker(program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A running dockerd; of it stay behind rules of iptables for a bridge that is gone."""
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    for name in ("docker", "dockerd", "mmdebstrap", "redis-server", "prometheus", "promtool"):
        program(name)
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin; `scripts/debian_packages.sh` installs it")
    kept = os.environ.get("VDMINI_TEST_DOCKERD")
    home = Path(kept) if kept else tmp_path_factory.mktemp("dockerd")
    forward, bridge = _forward_policy(), Path("/sys/class/net/docker0")
    bridged = bridge.exists()
    address = f"unix://{home}/socket"
    options = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
    named = [part for name, value in options.items() for part in (name, str(home / value))]
    with (home / "log").open("w") as log:
        daemon = subprocess.Popen(["dockerd", *named, "--host", address], stdout=log, stderr=log)
    try:
        client = Docker(_checkout(home / "checkout"), _environment(home, address))
        deadline = time.monotonic() + 60
        while client.run("docker", "info", check=False).returncode:
            assert daemon.poll() is None, (home / "log").read_text()[-4000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.2)
        yield client
        client("compose", "--profile", "*", "down", "--volumes", "--timeout", "0", check=False)
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        shutil.rmtree(home / "checkout" if kept else home, ignore_errors=True)
        if not bridged and bridge.exists():
            subprocess.run(["ip", "link", "delete", bridge.name], check=False)
        if forward:
            subprocess.run(["iptables", "-P", "FORWARD", forward], check=False)


def _forward_policy() -> str:
    """Docker sets it to DROP, for everybody."""
    told = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout.split()
    return told[2] if told[:2] == ["-P", "FORWARD"] else ""


def _checkout(folder: Path) -> Path:
    """What a clone would have, and the wheels that this machine's pip knows of."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for wheel in Path(os.environ.get("PIP_FIND_LINKS") or "/nowhere").glob("torch-*+cpu-*.whl"):
        shutil.copy2(wheel, folder / "docker" / "wheels")
    (folder / "compose.test.yml").write_text(WITHOUT_GRAFANA)
    return folder


def _environment(home: Path, address: str) -> dict[str, str]:
    ours = {
        "DOCKER_HOST": address,
        "DOCKER_CONFIG": str(home / "config"),
        "COMPOSE_FILE": "docker-compose.yml:compose.test.yml",
        "BASE_IMAGE": BASE,
        "REDIS_IMAGE": "redis:test",
        "PROMETHEUS_IMAGE": "prometheus:test",
        "VDMINI_PORT": str(free_port()),
        "PROMETHEUS_PORT": str(free_port()),
        "VDMINI_STALL_SECONDS": "10",
        "OMP_NUM_THREADS": "1",  # on shared cores the threads of a small model mostly wait for each other
    }
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(("VDMINI_", "COVERAGE_PROCESS_"))
    }
    return {**others, **ours}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def images(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The daemon has all images: base, stand-ins, and the three of ours as compose builds them."""
    folder = tmp_path_factory.mktemp("images")
    if not docker("images", "--quiet", BASE):
        docker.run("bash", str(ROOT / "scripts" / "debian_base.sh"), str(folder / "base.tar"))
        docker("import", str(folder / "base.tar"), BASE)
        (folder / "base.tar").unlink()
    _binaries(folder / "redis", "redis-server", "redis-cli")
    _binaries(folder / "prometheus", "prometheus", "promtool")
    (folder / "Dockerfile").write_text(STAND_INS)
    for name in ("redis", "prometheus"):
        docker("build", "--target", name, "--tag", f"{name}:test", str(folder))
    docker("compose", "--profile", "compress", "build")
    return docker


def _binaries(folder: Path, *names: str) -> None:
    """Programs with the libraries that they need, laid out as on this machine."""
    for name in names:
        program = Path(shutil.which(name) or name)
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        libraries = [Path(part) for part in told.split() if part.startswith("/")]
        for path in (program, *libraries):
            target = folder / str(path.parent.resolve() / path.name).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=True)


@dataclass(frozen=True)
class Stack:
    """The service as it runs in containers."""

    docker: Docker
    client: httpx.Client
    url: str
    seconds_until_ready: float

    def submit(self, **fields: object) -> str:
        asked = {"prompt": "a red circle moving right slowly on a gray background", **fields}
        answer = self.client.post("/v1/t2v", json=asked, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/v1/jobs/{job_id}").raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def finished(self, job_id: str, *, seconds: float = 180) -> dict[str, Any]:
        last: dict[str, Any] = {}

        def ended() -> bool:
            last.update(self.job(job_id))
            return last["status"] not in ("queued", "running")

        self.eventually(ended, seconds=seconds)
        return last

    def healthcheck(self, *options: str) -> bool:
        """What a probe in the worker's container says."""
        command = ("docker", "compose", "exec", "-T", "worker", "vdmini-serve", "healthcheck", *options)
        return self.docker.run(*command, check=False).returncode == 0

    def kill(self, service: str, number: signal.Signals = signal.SIGKILL) -> None:
        """As the kernel would: `docker kill` is a stop by hand, after which no policy restarts anything."""
        os.kill(int(self.docker.state(service)["Pid"]), number)

    def eventually(self, what: Callable[[], bool], *, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not _or_false(what):
            assert time.monotonic() < deadline, f"did not happen within {seconds} s"
            time.sleep(0.3)


def _or_false(what: Callable[[], bool]) -> bool:
    """A service that restarts answers not at all, or with something else than JSON."""
    try:
        return what()
    except (httpx.HTTPError, json.JSONDecodeError):
        return False


@pytest.fixture(scope="session")
def stack(images: Docker) -> Iterator[Stack]:
    """`docker compose up --wait`, as the README has it."""
    began = time.monotonic()
    up = images.run("docker", "compose", "up", "--wait", check=False)
    logs = images("compose", "logs", "--tail", "50", check=False)
    assert up.returncode == 0, up.stderr[-3000:] + logs[-6000:]
    url = f"http://127.0.0.1:{images.environment['VDMINI_PORT']}"
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        yield Stack(images, client, url, time.monotonic() - began)
