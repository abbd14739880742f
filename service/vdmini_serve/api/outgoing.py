"""Calling URLs that clients name, with a limit on everything. Where they may lead is left to `api.guard`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from vdmini_serve.api.guard import GuardedTransport, OutgoingError, Resolver, SystemResolver
from vdmini_serve.contract.addresses import parse_exceptions
from vdmini_serve.contract.settings import Settings

MAX_CONNECTIONS = 64
MAX_DOWNLOADS = 16
"""At the same time, in one process: they bound memory, and leave connections to webhooks."""
MAX_REDIRECTS = 3


class Outgoing:
    """GET and POST with a limit on everything.

    Args:
        transport: judges addresses.
    """

    def __init__(self, transport: GuardedTransport) -> None:
        self._transport, self._downloads = transport, asyncio.Semaphore(MAX_DOWNLOADS)
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=None,  # noqa: S113  # each call has one limit for everything, see `_limited`
            trust_env=False,  # a proxy would resolve names by itself
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
            async with asyncio.timeout(seconds), self._downloads:
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
        raise OutgoingError("too-slow", "it took too long") from None
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
