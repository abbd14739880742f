"""Calling URLs that clients name, without being led into our own network. What for is left to the callers.

A host is resolved once, its addresses are judged (`contract.addresses`), and the connection goes to just those: a name
that resolves to something else a moment later changes nothing. `Host`, SNI and the certificate's check keep the name.
Only https; each redirect is judged anew.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal

import httpx

from vdmini_serve.contract.addresses import Address, Exceptions, allowed, parse_exceptions
from vdmini_serve.contract.settings import Settings

Reason = Literal["refused", "unreachable", "status", "too-large", "too-slow"]
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host and a port to addresses; raises `OSError` when there are none."""

RESOLVER_THREADS = 8
"""Slow name servers keep these busy, and no thread that other requests need."""
HTTPS_PORT = 443
MAX_PORT = 2**16 - 1
MAX_CONNECTIONS = 64
MAX_REDIRECTS = 3
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
                return await self._inner.handle_async_request(_redirected(request, address))
            except httpx.ConnectError:
                continue
        return await self._inner.handle_async_request(_redirected(request, last))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _ascii_host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]")


def _redirected(request: httpx.Request, address: Address) -> httpx.Request:
    """The same request to an address; its headers already have the name as `Host`."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": _ascii_host(request.url)},
    )


class Outgoing:
    """GET and POST with a limit on everything.

    Args:
        transport: judges addresses.
    """

    def __init__(self, transport: GuardedTransport) -> None:
        self._transport = transport
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=None,  # noqa: S113  # each call has one limit for everything, see `_limited`
            trust_env=False,  # a proxy of the environment would resolve names by itself
            headers={"User-Agent": "vdmini", "Accept-Encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # clients share nothing
        )

    async def check(self, url: str, *, seconds: float) -> None:
        """Judge a URL without calling it.

        Raises:
            OutgoingError: when it may not be called, or its name is not resolved in time.
        """
        with _explained():
            async with asyncio.timeout(seconds):
                await self._transport.addresses(httpx.URL(url))

    async def get(self, url: str, *, accept: str, max_bytes: int, seconds: float) -> bytes:
        """Download a file, following a few redirects.

        Args:
            url: https.
            accept: media types that we want.
            max_bytes: of the body; counted while it streams in.
            seconds: for all of it, names and redirects included.

        Raises:
            OutgoingError: when it may not be called, fails, or exceeds a limit.
        """
        with _explained():
            async with asyncio.timeout(seconds):
                request = self._client.build_request("GET", url, headers={"Accept": accept})
                for _ in range(MAX_REDIRECTS + 1):
                    async with self._sent(request) as response:
                        if response.next_request is None:
                            return await _body(response, max_bytes)
                        request = response.next_request
                raise OutgoingError("unreachable", f"it redirects more than {MAX_REDIRECTS} times")

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str], seconds: float) -> int:
        """Send a document; neither redirects nor the answer's body matter.

        Returns:
            The HTTP status.

        Raises:
            OutgoingError: when it may not be called, or fails.
        """
        with _explained():
            async with (
                asyncio.timeout(seconds),
                self._sent(self._client.build_request("POST", url, content=content, headers=headers)) as response,
            ):
                return response.status_code

    @asynccontextmanager
    async def _sent(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != 200:
        raise OutgoingError("status", f"its server answered with HTTP status {response.status_code}")
    body = bytearray()
    async for chunk in response.aiter_raw():  # never unpacked: a compressed body can be endless
        body += chunk
        if len(body) > max_bytes:
            raise OutgoingError("too-large", f"it has more than {max_bytes} bytes")
    return bytes(body)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise OutgoingError("too-slow", "its server took too long") from None
    except httpx.InvalidURL:
        raise OutgoingError("refused", "it is no valid URL") from None
    except httpx.ConnectError:
        raise OutgoingError("unreachable", "its server refuses connections, or has no valid certificate") from None
    except httpx.HTTPError as error:
        raise OutgoingError("unreachable", f"its server broke off ({type(error).__name__})") from None


@asynccontextmanager
async def open_outgoing(settings: Settings, resolve: Resolver | None = None) -> AsyncIterator[Outgoing]:
    """An `Outgoing` as the settings say; tests may bring a resolver."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # below that they log URLs
    trusted = httpx.create_ssl_context(trust_env=False)
    if settings.outgoing_ca_file is not None:
        trusted.load_verify_locations(settings.outgoing_ca_file)
    connections = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
    inner = httpx.AsyncHTTPTransport(verify=trusted, trust_env=False, limits=connections)
    system = SystemResolver()
    exceptions = parse_exceptions(settings.outgoing_exceptions)
    outgoing = Outgoing(GuardedTransport(inner, resolve or system, exceptions))
    try:
        yield outgoing
    finally:
        await outgoing.aclose()
        system.close()
