"""`vdmini-serve up`: everything on this machine, for trying out and for tests; the same code path as production."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from redis import Redis
from redis.exceptions import RedisError

from vdmini_serve.access_keys import KeyRing
from vdmini_serve.contract.request import EXAMPLE_PROMPT
from vdmini_serve.contract.settings import Settings
from vdmini_serve.embedded import (
    LOOPBACK,
    REDIS_LOG,
    Processes,
    StartError,
    StopSignal,
    check_port,
    start_redis,
    temporary_folder,
)

POLL_SECONDS = 0.1
REDIS_SECONDS = 15.0


def default_artifacts() -> tuple[Path, ...]:
    """The small models of the checkout that this package is in: compressed ones and their teachers."""
    compression = Path(__file__).resolve().parents[2] / "compression"
    found = [*compression.glob("artifacts/*/vdmini.json"), *compression.glob("teachers/*/vdmini.json")]
    return tuple(path.parent for path in sorted(found))


def up(artifacts: Sequence[Path], *, host: str, port: int) -> int:
    """Serve until Ctrl-C.

    Args:
        artifacts: folders of the models.
        host: to listen on.
        port: to listen on.

    Returns:
        Exit code: 0 after Ctrl-C or SIGTERM, 1 when a process died.

    Raises:
        StartError: when the port is taken or Redis is missing.
        vdmini.artifact.ArtifactError: when an artifact is damaged.
    """
    from vdmini_serve.worker.models import verified  # the API image cannot load models

    verified(artifacts)
    check_port(host, port)
    with StopSignal().watching() as stop, temporary_folder() as folder:
        processes = Processes(stop)
        try:
            url = start_redis(processes, folder)
            _wait_for_redis(processes, url, folder / REDIS_LOG)
            environment = _environment(url, folder, artifacts)
            key = _access_key(url)
            processes.start("worker", _command("worker"), env=environment)
            processes.start("API", _command("api", "--host", host, "--port", str(port)), env=environment)
            _wait_until_ready(processes, f"http://{_reachable(host)}:{port}", key)
            return _watch(processes)
        finally:
            processes.close()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vdmini_serve.cli", *arguments]


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104  # everywhere includes here
        return LOOPBACK
    return f"[{host}]" if ":" in host else host


def _environment(url: str, folder: Path, artifacts: Sequence[Path]) -> dict[str, str]:
    ours = {
        "VDMINI_BROKER_URL": url + "0",
        "VDMINI_JOBS_URL": url + "1",
        "VDMINI_DATA_DIR": str(folder / "data"),
        "VDMINI_ARTIFACTS": os.pathsep.join(str(path.resolve()) for path in artifacts),
        "VDMINI_SOFT_SHUTDOWN_SECONDS": "0",  # the jobs end with the embedded Redis anyway
        "TMPDIR": str(folder),
    }
    quiet = {"VDMINI_LOG_LEVEL": "warning"}  # a terminal is for trying out, not for a line for each request
    return {**quiet, **os.environ, **ours}


def _wait_for_redis(processes: Processes, url: str, log: Path) -> None:
    deadline = time.monotonic() + REDIS_SECONDS
    while not processes.stop.count:
        if (ended := processes.ended()) is not None:
            reason = log.read_text().strip() if log.exists() else "it said nothing"
            raise StartError(f"Redis ended with code {ended[1]} right after its start: {reason}")
        try:
            with Redis.from_url(url + "0") as redis:
                redis.ping()
                return
        except RedisError as error:
            if time.monotonic() > deadline:
                raise StartError(f"Redis does not answer: {error}") from error
        time.sleep(POLL_SECONDS)


def _access_key(redis_url: str) -> str | None:
    """An API key for whoever started it, where keys are asked for: nobody else can reach this Redis to make one."""
    if not Settings().require_api_key:
        return None
    with Redis.from_url(redis_url + "1", decode_responses=True) as redis:
        return KeyRing(redis).add("vdmini-serve up", rate=None, max_active_jobs=None, priority="high")


def _wait_until_ready(processes: Processes, url: str, key: str | None) -> None:
    sys.stderr.write("Starting Redis, worker and API; loading the models takes a moment ...\n")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, trust_env=False, headers=headers) as client:
        while not processes.stop.count and processes.ended() is None:
            try:
                if client.get("/readyz", timeout=5).status_code == 200:
                    _welcome(url, [model["name"] for model in client.get("/v1/models").json()], key)
                    return
            except httpx.HTTPError:
                pass
            time.sleep(POLL_SECONDS)


def _welcome(url: str, names: Sequence[str], key: str | None) -> None:
    curl = '  curl -H "Authorization: Bearer $VDMINI_API_KEY"' if key else "  curl"
    image = f"{curl} {url}/v1/i2v -F image=@cat.png -o out.mp4"
    text = f"{curl} {url}/v1/t2v -F prompt='{EXAMPLE_PROMPT}' -o out.mp4"
    lines = [
        f"Ready: open {url} in a browser  (models: {', '.join(names)}; documentation: {url}/docs)",
        *([f"export VDMINI_API_KEY={key}  # good until this ends"] if key else []),
        "Try, in another terminal:",
        image,
        text,
        f"  vdmini-serve generate --url {url} --image cat.png -o out.mp4",
        "Ctrl-C ends it.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _watch(processes: Processes) -> int:
    while not processes.stop.count:
        ended = processes.ended()
        if ended is not None:
            sys.stderr.write(f"vdmini-serve: the {ended[0]} ended with code {ended[1]}; see its messages above\n")
            return 1
        time.sleep(POLL_SECONDS)
    return 0
