"""Clients that submit to any replica, poll any replica, cancel some jobs, and try again when no answer comes."""

import io
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

RETRY_SECONDS = 0.3
POLL_SECONDS = 0.15
PATIENCE_SECONDS = 180.0
"""How long one request is tried again; a service that is away longer than this counts as a hang."""
SEEDS = 3
"""So few that each kind of job is done many times, and has to give the same file each time."""
PROMPTS = (
    "a red circle moving right slowly on a gray background",
    "a blue square moving up slowly on a black background",
)
STEPS = (4, 4, 8, 16)
CANCELLED_SHARE = 0.1


class GaveUpError(Exception):
    """A request had no proper answer for too long."""


@dataclass(frozen=True)
class Order:
    """What a job is asked for; equal orders must give equal files.

    Args:
        task: i2v or t2v.
        fields: of the request, without the image.
        cancel_after_seconds: when to cancel it, if at all.
    """

    task: str
    fields: tuple[tuple[str, Any], ...]
    cancel_after_seconds: float | None


@dataclass
class Tally:
    """What all clients saw together.

    Args:
        accepted: order by the id that the client got for it.
        finished: jobs that a client saw in their last state.
        retries: requests that were tried again.
        answers: how often each HTTP status of 4xx and 5xx came.
        errors: what went wrong beyond retries.
    """

    accepted: dict[str, Order] = field(default_factory=dict)
    finished: int = 0
    retries: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)


def draw(dice: random.Random) -> Order:
    """A mixed lot: both tasks, short and long, some to be cancelled."""
    cancel = dice.uniform(0, 2) if dice.random() < CANCELLED_SHARE else None
    seed = dice.randrange(SEEDS)
    if dice.random() < 0.5:
        return Order("i2v", (("seed", seed), ("motion_bucket_id", dice.choice((60, 200)))), cancel)
    fields = (("prompt", dice.choice(PROMPTS)), ("seed", seed), ("num_inference_steps", dice.choice(STEPS)))
    return Order("t2v", fields, cancel)


def picture() -> bytes:
    """The image of all image-to-video jobs."""
    image = Image.radial_gradient("L").resize((200, 120))
    buffer = io.BytesIO()
    Image.merge("RGB", (image, image.rotate(180), image.rotate(90))).save(buffer, "PNG")
    return buffer.getvalue()


class ReplicaClient:
    """One client of several replicas.

    Args:
        urls: of the replicas; each try goes to any of them.
        tally: shared by all clients.
        dice: of this client.
    """

    def __init__(self, urls: Sequence[str], tally: Tally, dice: random.Random) -> None:
        self.urls, self.tally, self.dice = urls, tally, dice
        self.http = httpx.Client(timeout=30, trust_env=False)

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request until it is answered by neither a broken connection, nor 429, nor 5xx.

        Raises:
            GaveUpError: when that never came.
        """
        deadline, last = time.monotonic() + PATIENCE_SECONDS, "nothing"
        while time.monotonic() < deadline:
            try:
                response = self.http.request(method, self.dice.choice(self.urls) + path, **arguments)
                if response.status_code >= 400:
                    with self.tally.guard:
                        count = self.tally.answers.get(response.status_code, 0)
                        self.tally.answers[response.status_code] = count + 1
                if response.status_code < 500 and response.status_code != 429:
                    return response
                last = f"{response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                last = repr(error)
            with self.tally.guard:
                self.tally.retries += 1
            time.sleep(RETRY_SECONDS)
        raise GaveUpError(f"{method} {path} was tried for {PATIENCE_SECONDS} s; the last answer was {last}")

    def submit(self, order: Order) -> str:
        """Have a job accepted; its id."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": str(uuid.UUID(int=self.dice.getrandbits(128)))}
        fields = dict(order.fields)
        if order.task == "i2v":
            data = {name: str(value) for name, value in fields.items()}
            response = self.ask("POST", "/v1/i2v", files={"image": picture()}, data=data, headers=headers)
        else:
            response = self.ask("POST", "/v1/t2v", json=fields, headers=headers)
        job_id = response.headers.get("x-vdmini-job")
        if response.status_code not in (200, 202) or job_id is None:
            raise GaveUpError(f"a good request was answered {response.status_code}: {response.text[:300]}")
        with self.tally.guard:
            self.tally.accepted[job_id] = order
        return job_id

    def follow(self, job_id: str, order: Order) -> None:
        """Poll a job to its last state, cancelling it on the way when the order says so."""
        started, cancelled = time.monotonic(), order.cancel_after_seconds is None
        while True:
            job = self.ask("GET", f"/v1/jobs/{job_id}")
            if job.status_code != 200:
                raise GaveUpError(f"accepted job {job_id} was answered {job.status_code}: {job.text[:200]}")
            if job.json()["status"] in ("succeeded", "failed", "cancelled"):
                break
            if time.monotonic() - started > PATIENCE_SECONDS:
                raise GaveUpError(f"job {job_id} is still {job.json()['status']} after {PATIENCE_SECONDS} s")
            if not cancelled and time.monotonic() - started > (order.cancel_after_seconds or 0):
                self.ask("POST", f"/v1/jobs/{job_id}/cancel")
                cancelled = True
            time.sleep(POLL_SECONDS)
        with self.tally.guard:
            self.tally.finished += 1


def start_clients(
    urls: Sequence[str], *, clients: int, jobs: int, seed: int, tally: Tally
) -> tuple[list[threading.Thread], Callable[[], bool]]:
    """Start threads that share so many jobs; the threads, and a question whether one still runs."""
    left = iter(range(jobs))

    def work(number: int) -> None:
        dice = random.Random(f"{seed} {number}")  # noqa: S311  # not for secrets
        client = ReplicaClient(urls, tally, dice)
        while True:
            with tally.guard:
                if next(left, None) is None:
                    return
            order = draw(dice)
            try:
                client.follow(client.submit(order), order)
            except GaveUpError as error:
                with tally.guard:
                    tally.errors.append(str(error))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    return threads, lambda: any(thread.is_alive() for thread in threads)
