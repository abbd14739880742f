"""Real HTTPS servers with certificates of an authority made here, and the whole application in this process."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from redis import Redis

from vdmini_serve.api.app import create_app
from vdmini_serve.contract import metrics
from vdmini_serve.contract.model import ModelDefaults, ModelDescriptor, ModelLimits, ModelTeacher, WorkerBeat
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.store import WorkerStore

SECRET = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IQ=="
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """A server whose answers a test chooses, path by path."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head[1:] if line}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.seen.append(Seen(method, path, headers, body))
            await self.answers[path](writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


def whole(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    async def write(writer: asyncio.StreamWriter) -> None:
        given = {"Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    return write


def unending(start: bytes = b"", pause: float = 0.0, status: str = "200 OK", **headers: str) -> Answer:
    """A body that never ends, as fast as it is read or a little at a time."""

    async def write(writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + start)
        while True:
            writer.write(b"\0" * (1 if pause else 65536))
            await writer.drain()
            await asyncio.sleep(pause)

    return write


@pytest.fixture(scope="session")
def answer() -> Callable[..., Answer]:
    return whole


@pytest.fixture(scope="session")
def endless() -> Callable[..., Answer]:
    return unending


@pytest.fixture(scope="session")
def secret() -> str:
    return SECRET


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def serving(authority: trustme.CA) -> Callable[..., Any]:
    """Open a server: `async with serving(host="127.0.0.1", names=...) as peer`."""

    @asynccontextmanager
    async def serve(
        host: str = "127.0.0.1", port: int = 0, names: Sequence[str] = ("localhost", "127.0.0.1", "pictures.example")
    ) -> AsyncIterator[Peer]:
        peer, context = Peer(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: peer.names.append(name)
        server = await asyncio.start_server(peer.handle, host, port, ssl=context)
        peer.port = server.sockets[0].getsockname()[1]
        try:
            yield peer
        finally:
            server.close()

    return serve


@dataclass(frozen=True)
class Api:
    """The whole application in this process, on the real Redis; a worker's store plays the worker."""

    client: httpx.AsyncClient
    worker: WorkerStore
    redis: "Redis[bytes]"

    async def post(self, task: str, **options: Any) -> httpx.Response:
        headers = {"Prefer": "respond-async", **options.pop("headers", {})}
        return await self.client.post(f"/v1/{task}", headers=headers, **options)

    async def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"/v1/jobs/{job_id}")).json()
        return found

    async def counted(self, family: metrics.Family, *labels: str) -> float:
        text = (await self.client.get("/metrics")).text
        pairs = ",".join(f'{name}="{value}"' for name, value in zip(family.labels, labels, strict=True))
        return next(
            (float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(f"{family.name}{{{pairs}}}")), 0
        )


def descriptor(task: Any) -> ModelDescriptor:
    return ModelDescriptor(
        name=f"small-{task}", variant="vdmini", task=task, family="svd", removed_blocks=(),
        cost={}, latency=(), quality={},
        teacher=ModelTeacher(id="t", sha256="0", licence="CC0"),
        limits=ModelLimits(
            sizes=((64, 64),), min_num_frames=1, max_num_frames=8, min_fps=1, max_fps=30, num_inference_steps=(4,)
        ),
        defaults=ModelDefaults(
            width=64, height=64, num_frames=8, fps=8, num_inference_steps=4, guidance_scale=1, motion_bucket_id=127,
            noise_aug_strength=0.02,
        ),
    )  # fmt: skip


@pytest.fixture
def opened(redis_url: str, ca_file: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start the application with these settings: `async with opened(image_urls=True) as api`."""

    @asynccontextmanager
    async def start(**given: Any) -> AsyncIterator[Api]:
        chosen = {"data_dir": tmp_path, "outgoing_ca_file": ca_file, "outgoing_exceptions": ("localhost",), **given}
        settings = Settings(broker_url=redis_url.removesuffix("1") + "0", jobs_url=redis_url, **chosen)
        app = create_app(settings)
        worker = WorkerStore(redis, settings, "me")
        worker.publish_models([descriptor("i2v"), descriptor("t2v")])
        worker.publish_beat(WorkerBeat(id="me", state="idle", models=("small-i2v", "small-t2v"), at=2**40))
        inside = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=inside, base_url="http://api") as client,
        ):
            yield Api(client, worker, redis)

    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
        yield start
        redis.flushdb()
