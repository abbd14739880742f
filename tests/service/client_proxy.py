"""A proxy between client and service that does harm: a real server on loopback, whose harm tests choose."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


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
        behind = http.client.HTTPConnection(proxy.behind.hostname or "", proxy.behind.port, timeout=60)
        behind.request(self.command, self.path, body or None, dict(self.headers))
        answer = behind.getresponse()
        if self.path.endswith("/events"):
            return self._stream(answer)
        content, headers = answer.read(), dict(answer.getheaders())
        behind.close()
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
        answer.close()


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
