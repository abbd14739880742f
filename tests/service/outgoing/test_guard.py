"""URLs that clients name lead to public addresses only; on real HTTPS servers."""

import asyncio
import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vdmini_serve.api.guard import OutgoingError
from vdmini_serve.api.outgoing import MAX_DOWNLOADS, Outgoing, open_outgoing
from vdmini_serve.contract.addresses import Exceptions, allowed, is_public, parse_exceptions
from vdmini_serve.contract.settings import Settings

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2001:4860:4860::8888"]
NOT_PUBLIC = {
    "this host": ["0.0.0.0", "::", "0.1.2.3"],
    "loopback": ["127.0.0.1", "127.9.9.9", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "fec0::1"],
    "carriers' NAT": ["100.64.0.1", "100.127.255.255"],
    "cloud metadata": ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.192", "192.88.99.1", "198.18.0.1", "4000::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "IPv4 inside IPv6": [
        *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "2002:7f00:1::", "2002:808:808::1"),
        *("64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
}
HERE = Exceptions(networks=parse_exceptions(["127.0.0.1/32"]).networks)

Scenario = Callable[[Outgoing], Awaitable[Any]]


class Names:
    """A resolver whose answers a test chooses; the last one of a name stays."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError("unknown name")
        found = self.answers[host]
        return (found.pop(0) if len(found) > 1 else found[0]).split()


@pytest.fixture
def guarded(ca_file: Path) -> Callable[..., Any]:
    def open_one(resolve: Names | None = None, exceptions: tuple[str, ...] = ("127.0.0.1/32",)) -> Any:
        return open_outgoing(Settings(outgoing_ca_file=ca_file, outgoing_exceptions=exceptions), resolve)

    return open_one


async def fetch(outgoing: Outgoing, url: str, *, max_bytes: int = 10_000, seconds: float = 5) -> bytes:
    return await outgoing.get(url, accept="image/*", max_bytes=max_bytes, seconds=seconds)


async def failure(outgoing: Outgoing, url: str, **limits: float) -> OutgoingError:
    with pytest.raises(OutgoingError) as caught:
        await fetch(outgoing, url, **limits)  # type: ignore[arg-type]
    assert not any(hidden in caught.value.detail for hidden in ("127.0.0", "localhost", "example", "secret"))
    return caught.value


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_on_the_internet_may_be_called(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NOT_PUBLIC.items() for text in texts])
def test_an_address_may_not_be_called_that_is(kind, text):
    assert not is_public(ip_address(text))
    assert allowed("x.example", [text], Exceptions()) == ()


def test_a_host_with_a_public_and_a_private_address_is_refused_as_a_whole():
    assert allowed("x.example", ["8.8.8.8"], Exceptions())
    assert allowed("x.example", ["8.8.8.8", "10.0.0.1"], Exceptions()) == ()


def test_an_exception_is_for_its_host_or_network_and_nothing_else():
    exceptions = parse_exceptions(["Inside.example", "10.1.0.0/16", "fd00::/8", "127.0.0.1"])
    assert allowed("inside.EXAMPLE", ["192.168.0.1"], exceptions)
    assert allowed("other.example", ["192.168.0.1"], exceptions) == ()
    assert allowed("other.example", ["10.1.2.3", "fd00::1", "127.0.0.1"], exceptions)
    assert allowed("other.example", ["10.2.0.1"], exceptions) == ()


@pytest.mark.parametrize("entry", ["https://x.example", "*.example", "10.0.0.1/8", "x.example:443", "a b"])
def test_an_exception_that_is_neither_host_nor_network_is_refused_at_the_start(entry):
    with pytest.raises(ValidationError, match="outgoing_exceptions"):
        Settings(outgoing_exceptions=entry)  # type: ignore[arg-type]


def test_settings_are_lists_separated_by_commas():
    assert Settings(outgoing_exceptions="a.example, 10.0.0.0/8").outgoing_exceptions == ("a.example", "10.0.0.0/8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost.", "127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"],
)
def test_no_spelling_of_this_machine_is_called(host, serving, guarded):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=()) as outgoing:
            assert (await failure(outgoing, peer.url(host=host))).reason == "refused"
            assert peer.connections == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost/", "ftp://localhost/", "file:///etc/passwd", "//localhost/", "localhost", "", "https://"),
        *("https://user:secret@localhost/", "https://localhost:99999/", "https://a..b/", "https://\0/", "https:///x"),
        *("gopher://localhost/", "https://[::1", "https://" + "a" * 300 + "/", "data:image/png;base64,AAAA"),
    ],
)
def test_a_url_is_refused_that_is_no_plain_https_url(url, guarded):
    async def go() -> None:
        async with guarded(exceptions=("localhost",)) as outgoing:
            assert (await failure(outgoing, url)).reason == "refused"

    asyncio.run(go())


def test_an_unknown_name_and_a_private_one_get_the_same_words(guarded):
    async def go() -> None:
        names = Names(private_example=["10.0.0.1"])
        async with guarded(names) as outgoing:
            private, unknown = [await failure(outgoing, f"https://{each}.example/") for each in ("private", "unknown")]
        assert names.asked == ["private.example", "unknown.example"]
        assert (private.reason, private.detail) == (unknown.reason, unknown.detail)

    asyncio.run(go())


def test_a_file_is_fetched_with_the_name_in_host_and_sni(serving, guarded, answer):
    async def go() -> None:
        async with serving() as peer, guarded(Names(pictures_example=["127.0.0.1"])) as outgoing:
            peer.answers["/a"] = answer(b"hello")
            assert await fetch(outgoing, peer.url("/a", host="pictures.example")) == b"hello"
            (seen,) = peer.seen
            assert seen.headers["host"] == f"pictures.example:{peer.port}"
            assert peer.names == ["pictures.example"]

    asyncio.run(go())


def test_a_name_that_resolves_differently_a_moment_later_changes_nothing(serving, guarded, answer):
    async def go() -> None:
        names = Names(pictures_example=["127.0.0.1", "127.0.0.2"])
        async with serving() as peer, serving("127.0.0.2", peer.port) as inside, guarded(names) as outgoing:
            peer.answers["/"] = answer(b"outside")
            inside.answers["/"] = answer(b"inside")
            assert await fetch(outgoing, peer.url(host="pictures.example")) == b"outside"
            assert names.asked == ["pictures.example"]
            assert (await failure(outgoing, peer.url(host="pictures.example"))).reason == "refused"
            assert inside.connections == 0

    asyncio.run(go())


def test_a_certificate_for_another_name_is_not_trusted_even_on_a_known_address(serving, guarded, answer):
    async def go() -> None:
        names = Names(pictures_example=["127.0.0.1"], other_example=["127.0.0.1"])
        async with serving() as peer, guarded(names) as outgoing:
            peer.answers["/"] = answer(b"x")
            await fetch(outgoing, peer.url(host="pictures.example"))
            assert (await failure(outgoing, peer.url(host="other.example"))).reason == "unreachable"
            assert peer.names == ["pictures.example", "other.example"]

    asyncio.run(go())


def test_the_next_address_is_tried_when_the_first_does_not_answer(serving, guarded, answer):
    async def go() -> None:
        names = Names(pictures_example=["127.0.0.3 127.0.0.1"])
        async with serving() as peer, guarded(names, ("127.0.0.0/8",)) as outgoing:
            peer.answers["/"] = answer(b"x")
            assert await fetch(outgoing, peer.url(host="pictures.example")) == b"x"

    asyncio.run(go())


@pytest.mark.parametrize("target", ["https://inside.example:{port}/", "https://127.0.0.2:{port}/", "http://127.0.0.1/"])
def test_a_redirect_to_a_private_address_or_away_from_https_is_not_followed(target, serving, guarded, answer):
    async def go() -> None:
        names = Names(pictures_example=["127.0.0.1"], inside_example=["127.0.0.2"])
        names.answers |= {"127.0.0.2": ["127.0.0.2"], "127.0.0.1": ["127.0.0.1"]}
        async with serving() as peer, serving("127.0.0.2", peer.port) as inside, guarded(names) as outgoing:
            peer.answers["/"] = answer(status="302 Found", Location=target.format(port=peer.port))
            assert (await failure(outgoing, peer.url(host="pictures.example"))).reason == "refused"
            assert (len(peer.seen), inside.connections) == (1, 0)

    asyncio.run(go())


def test_a_few_redirects_are_followed_and_a_circle_is_not(serving, guarded, answer, endless):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            peer.answers["/a"] = endless(status="301 Moved Permanently", Location="/b")  # its body is not waited for
            peer.answers["/b"] = answer(status="307 Temporary Redirect", Location=peer.url("/c"))
            peer.answers["/c"] = answer(b"there")
            peer.answers["/circle"] = answer(status="302 Found", Location="/circle")
            assert await fetch(outgoing, peer.url("/a")) == b"there"
            peer.seen.clear()
            assert "redirects" in (await failure(outgoing, peer.url("/circle"))).detail
            assert len(peer.seen) == 4

    asyncio.run(go())


def test_an_endless_body_is_cut_off_at_the_limit_and_a_slow_one_at_the_time(serving, guarded, endless):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            peer.answers["/endless"] = endless()
            peer.answers["/slow"] = endless(pause=0.05)
            assert (await failure(outgoing, peer.url("/endless"))).reason == "too-large"
            begun = time.monotonic()
            assert (await failure(outgoing, peer.url("/slow"), seconds=0.4)).reason == "too-slow"
            assert time.monotonic() - begun < 2

    asyncio.run(go())


def test_a_server_that_says_nothing_and_a_resolver_that_hangs_are_given_up(serving, guarded):
    async def hang(*_: object) -> Any:
        await asyncio.sleep(60)

    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing, guarded(hang) as unresolved:
            peer.answers["/"] = hang
            assert (await failure(outgoing, peer.url(), seconds=0.3)).reason == "too-slow"
            assert (await failure(unresolved, peer.url(), seconds=0.3)).reason == "too-slow"

    asyncio.run(go())


def test_downloads_wait_for_one_another_but_no_longer_than_their_time(serving, guarded):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            peer.answers["/"] = lambda _: asyncio.sleep(60)
            running = [asyncio.create_task(fetch(outgoing, peer.url(), seconds=60)) for _ in range(MAX_DOWNLOADS)]
            while len(peer.seen) < MAX_DOWNLOADS:
                await asyncio.sleep(0.01)
            assert (await failure(outgoing, peer.url(), seconds=0.1)).reason == "too-slow"
            assert peer.connections == MAX_DOWNLOADS
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    asyncio.run(go())


def test_a_body_of_exactly_the_limit_is_taken_and_none_is_unpacked(serving, guarded, answer):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            packed = gzip.compress(b"\0" * 1_000_000)
            peer.answers["/exact"], peer.answers["/more"] = answer(b"x" * 500), answer(b"x" * 501)
            peer.answers["/bomb"] = answer(packed, Content_Encoding="gzip")
            assert len(await fetch(outgoing, peer.url("/exact"), max_bytes=500)) == 500
            assert (await failure(outgoing, peer.url("/more"), max_bytes=500)).reason == "too-large"
            assert await fetch(outgoing, peer.url("/bomb")) == packed
            assert {seen.headers["accept-encoding"] for seen in peer.seen} == {"identity"}

    asyncio.run(go())


def test_a_server_without_a_trusted_certificate_is_not_read(serving, answer):
    async def go() -> None:
        async with serving() as peer, open_outgoing(Settings(outgoing_exceptions=("localhost",))) as outgoing:
            peer.answers["/"] = answer(b"x")
            assert (await failure(outgoing, peer.url())).reason == "unreachable"
            assert not peer.seen

    asyncio.run(go())


def test_one_clients_cookies_are_not_sent_for_another(serving, guarded, answer):
    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            peer.answers["/"] = answer(b"x", Set_Cookie="a=b; Path=/")
            await fetch(outgoing, peer.url())
            await fetch(outgoing, peer.url())
            assert ["cookie" in seen.headers for seen in peer.seen] == [False, False]

    asyncio.run(go())


def test_no_url_is_logged(serving, guarded, answer, caplog):
    caplog.set_level(logging.DEBUG)

    async def go() -> None:
        async with serving() as peer, guarded(exceptions=("localhost",)) as outgoing:
            peer.answers["/path?token=hidden"] = answer(b"x")
            await fetch(outgoing, peer.url("/path?token=hidden"))
            await failure(outgoing, peer.url("/path?token=hidden"), max_bytes=0)

    asyncio.run(go())
    assert "hidden" not in caplog.text
