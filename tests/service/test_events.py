"""Server-sent events of the API's own process, over real sockets, with the worker's part done by hand."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby

import httpx
import pytest

from vdmini_serve.api.queue import FRESH_SECONDS
from vdmini_serve.contract.job import JobResult
from vdmini_serve.worker.store import Claim

Event = tuple[str, dict[str, object]]


class Stream:
    """Reads events in a thread of its own."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[Event] = []
        self.ended, self.broken = threading.Event(), threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        name = ""
        try:
            for line in self.response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    name = value
                elif field == "data":
                    self.events.append((name, json.loads(value)))
            self.ended.set()
        except httpx.HTTPError:
            self.broken.set()

    def over(self) -> None:
        """Wait until nothing more is read."""
        wait_until = time.monotonic() + 5
        while not (self.ended.is_set() or self.broken.is_set()):
            assert time.monotonic() < wait_until
            time.sleep(0.005)

    @property
    def states(self) -> list[tuple[object, object]]:
        """Status and progress; what only moved in the queue counts once."""
        return [state for state, _ in groupby((job["status"], job["progress"]) for _, job in self.events)]


@contextmanager
def following(api, job_id: str, **headers: str) -> Iterator[Stream]:
    with (
        httpx.Client(base_url=api.url, timeout=20, trust_env=False) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        try:
            yield stream
        finally:
            connection = response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):  # closing is not enough while the thread reads
                connection.shutdown(socket.SHUT_RDWR)
            stream.over()


def submit_and_settle(api) -> str:
    """Submit a job, and wait until no older view of the queue is around."""
    job_id: str = api.submit()
    time.sleep(FRESH_SECONDS + 0.1)
    return job_id


def start(api, job_id: str) -> Claim:
    claim = api.worker.claim(job_id)
    assert claim is not None
    return claim


@pytest.fixture
def reads(lone_api) -> Callable[[], int]:
    """How often a hash was read whole from Redis, by anybody."""

    def count() -> int:
        return int(lone_api.worker.redis.info("commandstats")["cmdstat_hgetall"]["calls"])

    return count


def test_every_change_of_a_job_is_told_until_its_end(lone_api, eventually):
    job_id = lone_api.submit()
    with following(lone_api, job_id) as stream:
        eventually(lambda: stream.states == [("queued", 0)], seconds=5)
        claim = start(lone_api, job_id)
        eventually(lambda: stream.states[1:] == [("running", 0)], seconds=5)
        lone_api.worker.beat(claim, 0.5)
        eventually(lambda: stream.states[2:] == [("running", 0.5)], seconds=5)
        lone_api.worker.finish(claim, "succeeded", result=JobResult(sha256="x"))
        assert stream.ended.wait(5)
    assert stream.states[3:] == [("succeeded", 1)]
    assert stream.events[-1][1] == lone_api.client.get(f"/v1/jobs/{job_id}").json()


def test_the_end_of_a_job_is_told_before_the_next_poll(lone_api, eventually):
    waits = []
    for _ in range(2):
        job_id = lone_api.submit()
        claim = start(lone_api, job_id)
        with following(lone_api, job_id) as stream:
            eventually(lambda stream=stream: bool(stream.events), seconds=5)
            began = time.perf_counter()
            lone_api.worker.finish(claim, "cancelled")
            assert stream.ended.wait(5)
            waits.append(time.perf_counter() - began)
    assert min(waits) < 0.25  # half of what a poll could take at worst; two tries, since the cores are shared


def test_a_client_that_comes_back_is_told_only_what_it_does_not_know(lone_api, eventually):
    job_id = submit_and_settle(lone_api)
    with following(lone_api, job_id) as stream:
        eventually(lambda: bool(stream.events), seconds=5)
    ((known, _),) = stream.events
    with following(lone_api, job_id, **{"Last-Event-ID": known}) as again:
        claim = start(lone_api, job_id)
        eventually(lambda: bool(again.events), seconds=5)
        assert again.states == [("running", 0)]
        lone_api.worker.finish(claim, "cancelled")
        assert again.ended.wait(5)
    url, last = f"/v1/jobs/{job_id}/events", again.events[-1][0]
    assert lone_api.client.get(url, headers={"Last-Event-ID": last}).status_code == 204
    assert lone_api.client.get(url, headers={"Last-Event-ID": known}).text.count("data:") == 1


def test_a_job_that_moves_up_in_the_queue_says_so(lone_api, eventually):
    ahead, job_id = lone_api.submit(), submit_and_settle(lone_api)
    with following(lone_api, job_id) as stream:
        eventually(lambda: bool(stream.events), seconds=5)
        before = stream.events[0][1]["queue_position"]
        lone_api.client.post(f"/v1/jobs/{ahead}/cancel")
        eventually(lambda: stream.events[-1][1]["queue_position"] == before - 1, seconds=5)
        lone_api.client.post(f"/v1/jobs/{job_id}/cancel")
        assert stream.ended.wait(5)
    assert stream.events[-1][1]["queue_position"] is None


def test_the_stream_of_a_job_that_is_deleted_ends(lone_api, eventually):
    job_id = lone_api.submit()
    with following(lone_api, job_id) as stream:
        eventually(lambda: bool(stream.events), seconds=5)
        lone_api.client.delete(f"/v1/videos/{job_id}")
        assert stream.ended.wait(5)
    assert stream.states[0] == ("queued", 0)
    assert set(stream.states[1:]) <= {("cancelled", 0)}  # it is for a moment


def test_a_job_that_is_unknown_is_a_problem_and_no_stream(lone_api):
    response = lone_api.client.get("/v1/jobs/nope/events")
    assert (response.status_code, response.json()["type"]) == (404, "urn:vdmini:problem:unknown-job")


def test_many_streams_of_a_job_share_its_polls_and_none_polls_on_after_its_client_left(lone_api, reads, eventually):
    job_id = submit_and_settle(lone_api)

    def watch(_: int) -> str:
        with following(lone_api, job_id) as stream:
            eventually(lambda: bool(stream.events), seconds=10)
            barrier.wait(20)
            barrier.wait(20)
        return stream.events[-1][0]

    barrier = threading.Barrier(21)
    with ThreadPoolExecutor(20) as pool:
        watching = pool.map(watch, range(20))
        barrier.wait(20)
        before, began = reads(), time.perf_counter()
        time.sleep(2)
        rate = (reads() - before) / (time.perf_counter() - began)
        barrier.wait(20)
        assert len(set(watching)) == 1
    assert 1 < rate < 4  # one job is polled twice a second; 20 polls would be 40
    time.sleep(0.6)
    before = reads()
    time.sleep(1.2)
    assert reads() == before


def test_a_shutdown_ends_all_streams_at_once(start_api, eventually):
    api = start_api()
    with following(api, api.submit()) as stream:
        eventually(lambda: bool(stream.events), seconds=5)
        api.process.send_signal(signal.SIGTERM)
        assert stream.broken.wait(2)
        assert api.process.wait(timeout=5) is not None
