"""The Python client behind a proxy that loses, delays and damages answers."""

import hashlib
import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

import vdmini_client
from vdmini_client import Client, Job, Retries
from vdmini_client.events import EventReader
from vdmini_client.pauses import poll_pause

PROMPT = "a red circle moves to the right"


class Proxy:
    """Passes requests on.

    Args:
        url: of the service behind it.
    """

    def __init__(self, url: str) -> None:
        self.behind = urlsplit(url)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.lose_answers = 0
        """To so many POSTs the service's answer is thrown away and the connection closed."""
        self.refuse: list[tuple[int, dict[str, str]]] = []
        """Answers that are given instead of passing a request on."""
        self.damage_clips = 0
        """In so many clips one byte is changed."""
        self.cut_clips = 0
        """So many clips end in the middle."""
        self.cut_streams = 0
        """So many event streams end after the first event."""
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        pass

    def _pass_on(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        proxy.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        if proxy.refuse:
            status, headers = proxy.refuse.pop(0)
            return self._answer(status, {**headers, "content-type": "text/html"}, b"<html>not now</html>")
        with closing(http.client.HTTPConnection(proxy.behind.hostname or "", proxy.behind.port, timeout=60)) as behind:
            behind.request(self.command, self.path, body or None, dict(self.headers))
            with behind.getresponse() as answer:
                if self.path.endswith("/events"):
                    return self._stream(answer)
                content, headers = answer.read(), dict(answer.getheaders())
        if self.command == "POST" and proxy.lose_answers:
            proxy.lose_answers -= 1
            self.close_connection = True
            return None
        if self.path.endswith("/content") and proxy.damage_clips:
            proxy.damage_clips -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        self._answer(answer.status, headers, content)
        return None

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path.endswith("/content") and self.proxy.cut_clips:
            self.proxy.cut_clips -= 1
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("content-type", ""))
        self.send_header("Connection", "close")
        self.end_headers()
        while line := answer.readline():
            self.wfile.write(line)
            if not line.strip() and self.proxy.cut_streams:
                self.proxy.cut_streams -= 1
                break


@contextmanager
def proxy_to(url: str) -> Iterator[Proxy]:
    """A proxy that runs inside the block."""
    proxy = Proxy(url)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy(service):
    with proxy_to(service.url) as made:
        yield made


@pytest.fixture
def client(proxy):
    with Client(proxy.url) as made:
        yield made


def posts(proxy: Proxy) -> list[dict[str, str]]:
    return [headers for method, _, headers in proxy.seen if method == "POST"]


def test_a_lost_answer_makes_no_second_job(proxy, client, service):
    newest = client.jobs(limit=1).jobs[0].id if client.jobs(limit=1).jobs else None
    proxy.lose_answers = 2
    clip = client.t2v(PROMPT, seed=3)
    keys = [headers["idempotency-key"] for headers in posts(proxy)]
    assert (len(keys), len(set(keys))) == (3, 1)
    made = [job.id for job in client.jobs(limit=5).jobs]
    assert made[0] == clip.id
    assert made[1:2] == ([newest] if newest else [])


def test_without_retries_a_lost_answer_is_an_error(proxy):
    proxy.lose_answers = 1
    with (
        Client(proxy.url, retries=Retries(most=0)) as client,
        pytest.raises(vdmini_client.UnreachableError, match="broke off"),
    ):
        client.submit_t2v(PROMPT)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_service_that_is_busy_is_asked_again_when_it_says(status, proxy, client):
    proxy.refuse = [(status, {"Retry-After": "0"}), (status, {"Retry-After": "0"})]
    assert client.submit_t2v(PROMPT).id
    assert len(posts(proxy)) == 3


def test_a_long_retry_after_is_not_waited_for_but_told(proxy, client):
    proxy.refuse = [(429, {"Retry-After": "3600"})]
    with pytest.raises(vdmini_client.BusyError) as busy:
        client.submit_t2v(PROMPT)
    assert busy.value.retry_after_seconds == 3600
    assert "no JSON; is the URL that of a VDMini service?" in str(busy.value)


def test_tries_are_bounded(proxy):
    proxy.refuse = [(503, {"Retry-After": "0"})] * 9
    with Client(proxy.url, retries=Retries(most=2)) as client, pytest.raises(vdmini_client.UnavailableError):
        client.models()
    assert len(proxy.seen) == 3


def test_a_finished_job_is_found_again_by_its_key(client):
    first = client.t2v(PROMPT, seed=4, idempotency_key="found-again")
    assert client.submit_t2v(PROMPT, seed=4, idempotency_key="found-again").id == first.id
    with pytest.raises(vdmini_client.InvalidRequestError) as other:
        client.submit_t2v(PROMPT, seed=5, idempotency_key="found-again")
    assert other.value.kind == "idempotency-conflict"


@pytest.mark.parametrize("harm", ["damage_clips", "cut_clips"])
def test_a_clip_that_arrives_damaged_is_fetched_again(harm, proxy, client, tmp_path):
    clip = client.t2v(PROMPT, seed=3)
    setattr(proxy, harm, 1)
    path = clip.save(tmp_path / "clip.mp4")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_that_stays_damaged_leaves_no_file(proxy, tmp_path):
    proxy.damage_clips = 9
    with Client(proxy.url, retries=Retries(most=1)) as client:
        clip = client.t2v(PROMPT, seed=3)
        with pytest.raises(vdmini_client.DamagedClipError, match="arrived damaged"):
            clip.save(tmp_path / "clip.mp4")
        with pytest.raises(vdmini_client.DamagedClipError):
            b"".join(clip.stream())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cuts", [1, 99])
def test_a_stream_that_breaks_is_taken_up_again(cuts, proxy, client):
    proxy.cut_streams = cuts
    told: list[Job] = []
    client.t2v(PROMPT, num_inference_steps=16, progress=told.append)
    streams = [headers for _, path, headers in proxy.seen if path.endswith("/events")]
    assert told[-1].status == "succeeded"
    assert all("last-event-id" in headers for headers in streams[1:])


def test_events_are_put_together_line_by_line(service, client):
    job = client.submit_t2v(PROMPT)
    reader = EventReader()
    lines = [": keep-alive", "", "id: 7", f"data: {job.model_dump_json()}", "", "data: {}", ""]
    assert [found.id for line in lines if (found := reader.feed(line))] == [job.id]
    assert reader.last_id == "7"


def test_polls_follow_the_services_hints(client):
    job = client.submit_t2v(PROMPT).model_copy(update={"eta_seconds": None})
    assert poll_pause(job, {"openai-poll-after-ms": "1500", "retry-after": "9"}, 0) == 1.5
    assert poll_pause(job, {"retry-after": "2"}, 0) == 2
    assert poll_pause(job.model_copy(update={"eta_seconds": 3.0}), {}, 0) == 1.5
    assert poll_pause(job.model_copy(update={"eta_seconds": 600.0}), {}, 0) == 5
    pauses = [poll_pause(job, {}, polls) for polls in range(20)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, 5)
