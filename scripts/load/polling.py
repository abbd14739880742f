"""Status polls as fast as they are answered, over a few connections that stay open."""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Polls:
    """What came back.

    Args:
        seconds: of each answer.
        failures: answers that were not 200.
        elapsed: seconds of the whole run.
    """

    seconds: list[float] = field(default_factory=list)
    failures: int = 0
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.seconds) / self.elapsed


def poll(url: str, path: str, *, connections: int, seconds: float) -> Polls:
    """Poll one address for so many seconds."""
    return asyncio.run(_poll(url, path, connections, seconds))


async def _poll(url: str, path: str, connections: int, seconds: float) -> Polls:
    found, started = Polls(), time.perf_counter()
    await asyncio.gather(*(_connection(url, path, started + seconds, found) for _ in range(connections)))
    found.elapsed = time.perf_counter() - started
    return found


async def _connection(url: str, path: str, until: float, found: Polls) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: application/json\r\n\r\n".encode()
    try:
        while (began := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
            await reader.readexactly(length)
            if " 200 " in lines[0]:
                found.seconds.append(time.perf_counter() - began)
            else:
                found.failures += 1
    finally:
        writer.close()
        await writer.wait_closed()
