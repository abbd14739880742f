"""Requests as bytes on a socket, since a proper client refuses to send improper ones."""

import json
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

HANG_SECONDS = 15.0
"""An answer that takes longer counts as a hang."""
NO_MORE_SECONDS = 4.0
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
    """Send a request and read its answer to the end, at most so many bytes and seconds.

    A service that waits for more of the request is told after a while that there is no more.
    """
    address = urlsplit(url)
    started = time.monotonic()
    received = bytearray()
    with socket.create_connection((address.hostname, address.port), timeout=HANG_SECONDS) as wire:
        with suppress(ConnectionError):  # refused while we sent; the answer may be there all the same
            wire.sendall(shot.request)
        wire.settimeout(NO_MORE_SECONDS)
        try:
            part = _first(wire)
            while part and len(received) < MOST_BYTES and time.monotonic() - started < HANG_SECONDS:
                received += part
                part = wire.recv(65536)
        except TimeoutError:
            if not received:  # otherwise it was answered, and the connection is kept for another request
                return Answer(None, time.monotonic() - started)
        except ConnectionError:
            pass  # what was received before counts
    return _read(bytes(received), time.monotonic() - started)


def _first(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65536)
    except TimeoutError:
        wire.settimeout(HANG_SECONDS - NO_MORE_SECONDS)
        wire.shutdown(socket.SHUT_WR)
        return wire.recv(65536)


def _read(received: bytes, seconds: float) -> Answer:
    while received.startswith(b"HTTP/1.1 1"):  # 100 Continue
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    job = re.search(rb"\r\nx-vdmini-job: ([0-9a-f]{32})", head, re.IGNORECASE)
    return Answer(int(match[1]) if match else 0, seconds, body, job[1].decode() if job else None)
