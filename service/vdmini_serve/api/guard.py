"""Connecting to the addresses that were judged, and to no others. What is sent is left to `api.outgoing`.

A host is resolved once, its addresses are judged (`contract.addresses`), and the connection goes to just those: a name
that resolves to something else a moment later changes nothing. `Host`, SNI and the certificate's check keep the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

import httpx

from vdmini_serve.contract.addresses import Address, Exceptions, allowed

Reason = Literal["refused", "unreachable", "status", "too-large", "too-slow"]
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to addresses; raises `OSError` when there are none."""

RESOLVER_THREADS = 8
"""Slow name servers keep these busy, and no thread that other requests need."""
HTTPS_PORT = 443
MAX_PORT = 2**16 - 1
MAX_ADDRESSES = 3
"""Addresses of one host that are tried in turn."""
NOT_PUBLIC = "its host has no address, or one that is not public"
"""One text for both, so that answers do not tell which names exist in our network."""


class OutgoingError(Exception):
    """A call that was not made, or failed.

    Args:
        reason: what kind of failure it was.
        detail: in words; names neither the URL nor an address.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class SystemResolver:
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Addresses in the order in which the system would try them."""
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, look_up)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to addresses that were checked, and to nothing else.

    Args:
        inner: makes the connections. It must not keep them: it would find them by address, whatever the name was.
        resolve: finds addresses.
        exceptions: what may be called although it is not public.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, resolve: Resolver, exceptions: Exceptions) -> None:
        self._inner, self._resolve, self._exceptions = inner, resolve, exceptions

    async def addresses(self, url: httpx.URL) -> tuple[Address, ...]:
        """Where a URL may be called.

        Raises:
            OutgoingError: when it may not.
        """
        if url.scheme != "https":
            raise OutgoingError("refused", "it does not start with https://")
        if url.userinfo:
            raise OutgoingError("refused", "it holds a user name or a password")
        host, port = _ascii_host(url), url.port or HTTPS_PORT
        if not host or port > MAX_PORT:
            raise OutgoingError("refused", "it names no host, or no possible port")
        try:
            found = allowed(host, await self._resolve(host, port), self._exceptions)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise OutgoingError("refused", NOT_PUBLIC)
        return found[:MAX_ADDRESSES]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first checked address that can be connected to."""
        *others, last = await self.addresses(request.url)
        for address in others:
            try:
                return await self._inner.handle_async_request(_addressed(request, address))
            except httpx.ConnectError:
                continue
        return await self._inner.handle_async_request(_addressed(request, last))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _ascii_host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]")


def _addressed(request: httpx.Request, address: Address) -> httpx.Request:
    """The same request to an address; its headers already have the name as `Host`."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": _ascii_host(request.url)},
    )
