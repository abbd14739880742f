"""Requests that are wrong in their JSON, forms, headers or addresses; and clips asked for in odd parts."""

import base64
import random
from collections.abc import Iterator

from hostile_images import bombs, damaged, oddities
from wire import Shot, as_form, as_json, post, request

JSON = "application/json"
FORM = "multipart/form-data; boundary=b"
PROMPT = "a red circle moving right slowly on a gray background"
GOOD = as_json({"prompt": PROMPT})


def fixed(job: str) -> list[Shot]:
    """All the requests that are the same in each run; `job` is a finished one."""
    made = [*_images(), *_json(), *_fields(), *_forms(), *_headers(), *_framing(), *_parts_of(job), *_addresses(job)]
    return [Shot(name, content) for name, content in made]


def drawn(dice: random.Random, job: str) -> Shot:
    """A request that the dice damage."""
    match dice.randrange(5):
        case 0:
            name, content = damaged(dice)
            return Shot(name, image_form(content) if dice.random() < 0.5 else image_json(content))
        case 1:
            text = as_json({"prompt": PROMPT, "seed": dice.choice([1, -1, 2**70, 1.5, None, "x", [], {}, True])})
            return Shot("noise in JSON", post("t2v", _noisy(dice, text), JSON))
        case 2:
            body = as_form([('Content-Disposition: form-data; name="prompt"', PROMPT.encode())])
            return Shot("noise in a form", post("t2v", _noisy(dice, body), FORM))
        case 3:
            first, last = (dice.choice(["", "0", "-1", "7", "99999", "9" * 30, "x"]) for _ in range(2))
            value = ",".join([f"{first}-{last}"] * dice.choice([1, 1, 2, 50]))
            return Shot(
                f"Range of {value[:20]}", request("GET", f"/v1/jobs/{job}/content", headers={"Range": f"bytes={value}"})
            )
        case _:
            whole = request("GET", f"/v1/jobs/{job}", headers={"Accept": "*/*"})
            return Shot("noise in a request", _noisy(dice, whole))


def _noisy(dice: random.Random, content: bytes) -> bytes:
    broken = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(broken))
        broken[at : at + dice.randint(0, 2)] = bytes(dice.randrange(256) for _ in range(dice.randint(0, 3)))
    return bytes(broken)


def image_form(content: bytes) -> bytes:
    """An image as a file part with a hostile name."""
    head = 'Content-Disposition: form-data; name="image"; filename="../../etc/passwd\\0.png"'
    return post("i2v", as_form([(head, content)]), FORM)


def image_json(content: bytes) -> bytes:
    """An image in base64."""
    return post("i2v", as_json({"image": base64.b64encode(content).decode()}), JSON)


def _images() -> Iterator[tuple[str, bytes]]:
    for name, content in (*bombs(), *oddities()):
        yield f"image: {name}, form", image_form(content)
        yield f"image: {name}, JSON", image_json(content)


def _json() -> Iterator[tuple[str, bytes]]:
    bodies = {
        "lists in lists": b"[" * 100_000,
        "objects in objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "a prompt of lists in lists": b'{"prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        "NaN": b'{"prompt": "x", "guidance_scale": NaN}',
        "minus infinity": b'{"prompt": "x", "guidance_scale": -Infinity}',
        "a huge float": b'{"prompt": "x", "guidance_scale": 1e400}',
        "a huge integer": b'{"prompt": "x", "seed": 1' + b"0" * 4000 + b"}",
        "a too huge integer": b'{"prompt": "x", "seed": 1' + b"0" * 10_000 + b"}",
        "huge in all fields": b'{"prompt": "x", "width": 1%b, "num_frames": 1%b, "fps": 1%b}' % ((b"0" * 1000,) * 3),
        "a field twice": b'{"prompt": "x", "prompt": "y"}',
        "10,000 fields": as_json({f"f{i}": i for i in range(10_000)}),
        "half a surrogate": b'{"prompt": "\\ud800"}',
        "half a surrogate as a name": b'{"\\ud800": 1, "prompt": "x"}',
        "half a surrogate as variant": b'{"prompt": "x", "variant": "\\udfff"}',
        "a null character": b'{"prompt": "a\\u0000b"}',
        "all of Unicode's oddities": as_json({"prompt": "\u202e\ufeff\U0001f600\u0301 \u2028 x"}),
        "a byte order mark": b"\xef\xbb\xbf" + GOOD,
        "UTF-16": GOOD.decode().encode("utf-16"),
        "no UTF-8": b'{"prompt": "\xff\xfe"}',
        "two objects": GOOD + GOOD,
        "a comment": b"{/* */}",
        "a string": b'"x"',
        "null": b"null",
        "__proto__": as_json({"prompt": "x", "__proto__": {}, "constructor": 1}),
    }
    for name, body in bodies.items():
        yield f"JSON: {name}", post("t2v", body, JSON)
        yield f"JSON for i2v: {name}", post("i2v", body, JSON)


def _fields() -> Iterator[tuple[str, bytes]]:
    names = (
        "variant",
        "width",
        "height",
        "num_frames",
        "fps",
        "num_inference_steps",
        "guidance_scale",
        "seed",
        "prompt",
    )
    for name in (*names, "image", "image_url", "webhook_url", "quality", "max_queue_seconds", "callback"):
        for value in (
            None,
            True,
            -1,
            0,
            2**63,
            2**64,
            1e308,
            "",
            "x" * 5000,
            [],
            {},
            [[]],
            "\x00",
            "file:///etc/passwd",
        ):
            yield f"field {name} as {str(value)[:20]!r}", post("t2v", as_json({"prompt": PROMPT, name: value}), JSON)
    for url in (
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/meta-data/",
        "gopher://x",
        "//x",
        "http://[::1]/",
    ):
        yield f"an address {url}", post("i2v", as_json({"image_url": url, "image": url}), JSON)


def _forms() -> Iterator[tuple[str, bytes]]:
    name = 'Content-Disposition: form-data; name="prompt"'
    part = (name, PROMPT.encode())
    good = as_form([part])
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 5000,
        'multipart/form-data; boundary="b',
        "multipart/form-data; boundary=\xff",
        "multipart/mixed; boundary=b",
    ):
        yield f"form: type {kind[:40]!r}", post("t2v", good, kind)
    bodies = {
        "3,000 parts": as_form([(f'Content-Disposition: form-data; name="f{i}"', b"x") for i in range(3000)]),
        "3,000 files": as_form(
            [(f'Content-Disposition: form-data; name="f{i}"; filename="x"', b"") for i in range(3000)]
        ),
        "a huge name": as_form([(f'Content-Disposition: form-data; name="{"n" * 50_000}"', b"x")]),
        "no disposition": as_form([("Content-Type: text/plain", b"x")]),
        "an empty disposition": as_form([("Content-Disposition:", b"x")]),
        "no name": as_form([("Content-Disposition: form-data", b"x")]),
        "an empty name": as_form([('Content-Disposition: form-data; name=""', b"x")]),
        "a header without end": b"--b\r\nContent-Disposition: form-data; name=" + b"x" * 40_000,
        "1,000 headers": as_form([("\r\n".join([name] + [f"X-{i}: y" for i in range(1000)]), b"x")]),
        "no last boundary": good[:-6],
        "only a boundary": b"--b\r\n",
        "no boundary": b"hello",
        "line feeds alone": good.replace(b"\r\n", b"\n"),
        "an unknown charset": as_form([(f"{name}\r\nContent-Type: text/plain; charset=klingon", b"x")]),
        "_charset_ of noise": as_form([('Content-Disposition: form-data; name="_charset_"', b"\xff"), part]),
        "a prompt that is a file": as_form([(f'{name}; filename="p.txt"', b"x")]),
        "a prompt of noise": as_form([(name, bytes(range(256)))]),
        "base64 as transfer encoding": as_form([(f"{name}\r\nContent-Transfer-Encoding: base64", b"eA==")]),
        "a large field": as_form([(name, b"x" * 60_000)]),
        "too large a field": as_form([(name, b"x" * 200_000)]),
    }
    for title, body in bodies.items():
        yield f"form: {title}", post("t2v", body, FORM)
        yield f"form for i2v: {title}", post("i2v", body, FORM)
    yield (
        "a form in the address' style, noise",
        post("t2v", b"prompt=%ff%00%zz&&&=;", "application/x-www-form-urlencoded"),
    )
    yield "10,000 fields in that style", post("t2v", b"a=1&" * 10_000, "application/x-www-form-urlencoded")


def _headers() -> Iterator[tuple[str, bytes]]:
    values = {
        "Prefer": (
            "wait=-1",
            "wait=1e9",
            "wait=99999999999999",
            "wait=",
            "=,;=",
            "x" * 20_000,
            "wait=0, wait=5",
            "\xff",
        ),
        "Idempotency-Key": ("", " ", "x" * 20_000, "\xff\xfe", '"', "a,b", "*", "../../x"),
        "Authorization": ("", "Bearer", "Bearer ", "Basic \xff", "Bearer " + "x" * 20_000, "Digest x"),
        "Content-Type": (
            "",
            ";",
            "application/json; charset=klingon",
            "application/json;" * 1000,
            "\xff/\xff",
            "a/b/c",
        ),
        "Content-Encoding": ("gzip", "br", "x"),
        "Accept": ("", "x/y", "*/*;q=2", ",,,"),
        "traceparent": ("", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "ff-x", "00-" + "g" * 500),
        "X-Request-Id": ("x" * 20_000, "\xff", "a b"),
        "X-Forwarded-For": ("127.0.0.1", "x" * 5000),
        "Host": ("", "evil.example", "x" * 5000, "\xff"),
        "Last-Event-ID": ("-1", "x" * 5000, "9" * 400),
    }
    for name, several in values.items():
        for value in several:
            headers = {"Content-Type": JSON, "Prefer": "respond-async"} | {name: value}
            yield f"header {name} of {value[:20]!r}", request("POST", "/v1/t2v", headers=headers, body=GOOD)
    yield "a header of 100,000 bytes", request("GET", "/livez", headers={"X": "x" * 100_000})
    yield "5,000 headers", request("GET", "/livez", headers={f"X-{i}": "y" for i in range(5000)})


def _framing() -> Iterator[tuple[str, bytes]]:
    good = b"POST /v1/t2v HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    good += b"Content-Type: application/json\r\nPrefer: respond-async\r\n"
    for length in ("0", "1", "999999", "-1", "x", "9" * 30, "5, 5", ""):
        headers = {"Content-Type": JSON, "Prefer": "respond-async"}
        yield f"length {length!r}", request("POST", "/v1/t2v", headers=headers, body=GOOD, length=length)
    chunked = good + b"Transfer-Encoding: chunked\r\n\r\n"
    size = b"%x\r\n" % len(GOOD)
    yield "chunks", chunked + size + GOOD + b"\r\n0\r\n\r\n"
    yield "chunks without end", chunked + size + GOOD
    yield "a chunk that is too short", chunked + b"ffff\r\n" + GOOD + b"\r\n0\r\n\r\n"
    yield "a chunk of no number", chunked + b"zz\r\n" + GOOD
    yield "a chunk of a huge number", chunked + b"f" * 40 + b"\r\n" + GOOD
    yield "a chunk with a huge extension", chunked + b"1;" + b"x" * 100_000 + b"\r\n"
    yield (
        "length and chunks",
        good + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + size + GOOD + b"\r\n0\r\n\r\n",
    )
    yield "another transfer encoding", good + b"Transfer-Encoding: gzip\r\n\r\n" + GOOD
    for value in (b"100-continue", b"200-ok", b""):
        body = b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
        yield f"Expect {value!r}", good + b"Expect: " + value + b"\r\n" + body
    for line in (
        b"GET /",
        b"GET / HTTP/0.9",
        b"GET / HTTP/9.9",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET  / HTTP/1.1",
        b"",
        b"CONNECT x:1 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"get / HTTP/1.1",
        b"X" * 70_000,
    ):
        yield f"the line {line[:20]!r}", line + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    yield "a web socket", request("GET", "/v1/jobs", headers={"Upgrade": "websocket", "Sec-WebSocket-Key": "eA=="})
    yield "a header without a colon", b"GET /livez HTTP/1.1\r\nHost\r\n\r\n"
    yield "a folded header", b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: a\r\n b\r\n\r\n"
    yield "a header with a null", b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: \0\r\n\r\n"


def _parts_of(job: str) -> Iterator[tuple[str, bytes]]:
    several = ",".join(f"{i}-{i}" for i in range(2000))
    ranges = (
        "bytes=0-",
        "bytes=-0",
        "bytes=-1",
        "bytes=5-2",
        "bytes=0-0,2-3",
        f"bytes={several}",
        "bytes=" + "9" * 30 + "-",
        "bytes=-" + "9" * 30,
        "bytes=a-b",
        "bytes=",
        "bytes",
        "items=0-1",
        "bytes=0-" + "9" * 18,
        "bytes=99999999-",
        "bytes = 0 - 1",
        "BYTES=0-1",
        "\xff",
    )
    for value in ranges:
        for extra in ({}, {"If-Range": '"x"'}, {"If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, {"If-None-Match": "*"}):
            for method in ("GET", "HEAD"):
                headers = {"Range": value} | extra
                yield f"{method} {value[:30]} {extra}", request(method, f"/v1/jobs/{job}/content", headers=headers)
    for value in ('W/"x"', '"' * 5000, "\xff", ",,,", ""):
        yield (
            f"If-None-Match {value[:10]!r}",
            request("GET", f"/v1/jobs/{job}/content", headers={"If-None-Match": value}),
        )


def _addresses(job: str) -> Iterator[tuple[str, bytes]]:
    names = (
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff",
        "%",
        "%zz",
        "a" * 8000,
        "*",
        "vdmini:jobs",
        job.upper(),
        job + "%0a",
        "%0d%0aX:y",
        "\u00e9",
        "0" * 32,
        "-",
        "{job_id}",
        "';--",
        "$(id)",
        "%252e",
        job + "/",
        "//" + job,
    )
    for name in names:
        for path in (
            "/v1/jobs/{}",
            "/v1/jobs/{}/content",
            "/v1/jobs/{}/events",
            "/v1/models/{}",
            "/v1/videos/{}",
            "/{}",
        ):
            yield f"GET {path} {name[:20]!r}", request("GET", path.format(name))
        yield f"cancel {name[:20]!r}", request("POST", f"/v1/jobs/{name}/cancel")
        yield f"delete {name[:20]!r}", request("DELETE", f"/v1/videos/{name}")
    queries = (
        "limit=-1",
        "limit=x",
        "limit=9" * 3,
        "limit=" + "9" * 5000,
        "after=%00",
        "after=%ff",
        "after=" + "a" * 65,
        "limit=1&limit=2",
        "after=vdmini:jobs",
        "%",
        "&&&&",
        "=",
        "order=x",
        "status=x",
        "after=" + job,
        "limit=1e2",
        "limit=%F0%9F%98%80",
    )
    for query in queries:
        for path in ("/v1/jobs", "/v1/videos", "/v1/models"):
            yield f"query {path} {query[:20]}", request("GET", f"{path}?{query}")
    for target in (
        "http://evil.example/livez",
        "*",
        "/" + "a/" * 5000,
        "/v1/../v1/jobs",
        "/openapi.json?x",
        "/docs/../metrics",
    ):
        yield f"target {target[:20]}", request("GET", target)
