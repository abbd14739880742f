"""Requests as bytes on a socket, since a proper client refuses to send improper ones."""

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

HANG_SECONDS = 15.0
"""An answer that takes longer counts as a hang."""
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Shot:
    """One request.

    Args:
        name: what is wrong with it.
        request: its bytes.
    """

    name: str
    request: bytes


@dataclass(frozen=True)
class Answer:
    """What came back.

    Args:
        status: of HTTP; 0 when the connection was closed without an answer, None when nothing came in time.
        seconds: until it was there.
        body: without headers.
        job: id of a job that was made, if one was.
    """

    status: int | None
    seconds: float
    body: bytes = b""
    job: str | None = None


def request(
    method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"", length: str | None = None
) -> bytes:
    """A request that asks for the connection to be closed; `length` may lie."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or length is not None:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def post(task: str, body: bytes, kind: str, **headers: str) -> bytes:
    """A request for a job that doesn't wait for it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request("POST", f"/v1/{task}", headers={"Content-Type": kind, "Prefer": "respond-async"} | named, body=body)


def as_json(fields: object) -> bytes:
    """A JSON body."""
    return json.dumps(fields).encode()


def as_form(parts: list[tuple[str, bytes]], boundary: str = "b") -> bytes:
    """A multipart body of parts, each with the text of its headers."""
    pieces = [
        f"--{boundary}\r\n{head}\r\n\r\n".encode("utf-8", "replace") + content + b"\r\n" for head, content in parts
    ]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def send(url: str, shot: Shot) -> Answer:
    """Send a request and read its answer to the end, at most so many bytes and seconds."""
    address = urlsplit(url)
    started = time.monotonic()
    received = bytearray()
    with socket.create_connection((address.hostname, address.port), timeout=HANG_SECONDS) as wire:
        try:
            wire.sendall(shot.request)
            wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused while we sent; the answer may be there all the same
        try:
            while len(received) < MOST_BYTES and (part := wire.recv(65536)):
                received += part
                if time.monotonic() - started > HANG_SECONDS:
                    return Answer(None, time.monotonic() - started)
        except TimeoutError:
            return Answer(None, time.monotonic() - started)
        except ConnectionResetError:
            pass
    return _read(bytes(received), time.monotonic() - started)


def _read(received: bytes, seconds: float) -> Answer:
    while received.startswith(b"HTTP/1.1 1"):  # 100 Continue
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    job = re.search(rb"\r\nx-vdmini-job: ([0-9a-f]{32})", head, re.IGNORECASE)
    return Answer(int(match[1]) if match else 0, seconds, body, job[1].decode() if job else None)
