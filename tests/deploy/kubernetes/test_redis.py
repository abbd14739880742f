"""The scripts of Redis' pod, run with a real Redis."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as AwayError
from tests.deploy.kubernetes.conftest import Manifest
from tests.deploy.kubernetes.pods import named

PASSWORD = "0123456789abcdef"


class Pod:
    """The container's files below a folder, and its commands."""

    def __init__(self, folder: Path, files: dict[str, str], programs: dict[str, Path]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        places = {"/etc/redis": "etc", "/run/redis": "run", "/data": "data"}
        self.folder = folder
        for place in places.values():
            (folder / place).mkdir()
        changes = {inside: str(folder / outside) for inside, outside in places.items()}
        changes |= {"port 6379": f"port {self.port}", "bind * -::*": "bind 127.0.0.1"}
        changes |= {"redis-cli ": f"{programs['redis-cli']} -p {self.port} "}
        changes |= {"exec redis-server ": f"exec {programs['redis-server']} "}
        for name, text in files.items():
            (folder / "etc" / name).write_text(
                reduce(lambda so_far, change: so_far.replace(*change), changes.items(), text)
            )

    def script(self, name: str, password: str = PASSWORD) -> int:
        return subprocess.run(self._command(name), env=_environment(password), check=False).returncode

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            self._command("start.sh"), env=_environment(PASSWORD), stdout=subprocess.DEVNULL, cwd=self.folder
        )
        try:
            deadline = time.monotonic() + 20
            while self.script("ready.sh"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process
        finally:
            process.kill()
            process.wait()

    def client(self, password: str | None = PASSWORD) -> Redis:
        return Redis(port=self.port, password=password)

    def _command(self, name: str) -> list[str]:
        return ["sh", str(self.folder / "etc" / name)]


def _environment(password: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "REDISCLI_AUTH": password}


@pytest.fixture
def pod(tmp_path: Path, top_level: list[Manifest], program: Callable[[str], Path]) -> Pod:
    files = named(top_level, "ConfigMap", "vdmini-redis")["data"]
    return Pod(tmp_path, files, {name: program(name) for name in ("redis-server", "redis-cli")})


def test_redis_keeps_what_it_said_it_has_and_lets_nobody_in_without_the_password(pod: Pod) -> None:
    assert pod.script("alive.sh") == pod.script("ready.sh") == 1
    with pod.running() as process:
        assert pod.script("alive.sh") == pod.script("ready.sh") == 0
        assert pod.script("ready.sh", "wrong") == 1
        assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert (pod.folder / "run/redis.conf").stat().st_mode & 0o077 == 0
        with pod.client(None) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        with pod.client() as client:
            assert client.config_get("maxmemory*") == {
                **client.config_get("maxmemory*"),
                "maxmemory": str(2**30),
                "maxmemory-policy": "noeviction",
            }
            client.set("job", "queued")
        time.sleep(1.2)  # appendfsync everysec
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pod.client() as gone, pytest.raises(AwayError):
            gone.ping()
    with pod.running(), pod.client() as client:
        assert client.get("job") == b"queued"
