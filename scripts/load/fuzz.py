"""Thousands of generated and hostile requests; then it must still work. No answer may be of 5xx, none may hang.

python scripts/load/fuzz.py --requests 10000 [--seed 0] [--url http://...] [--output FILE.json]

Without --url a service of its own is started. What is accepted is cancelled at once, and its queue takes 8 jobs, so
that good requests among the generated ones cannot fill it with clips. Ends with 1 when something is wrong.
"""

import argparse
import logging
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from clients import picture
from fleet import Fleet, running, wait_until
from generated import send_generated
from hostile_requests import PROMPT, drawn, fixed
from record import quantiles, write
from wire import HANG_SECONDS, Answer, Shot, send

SETTINGS = {"VDMINI_MAX_ACTIVE_JOBS": "8", "VDMINI_DEFAULT_WAIT_SECONDS": "5", "VDMINI_MAX_WAIT_SECONDS": "5"}
SIDE_BY_SIDE = 4
"""Hostile requests in flight."""
MOST_TOLD = 40


@dataclass
class Findings:
    """What came back.

    Args:
        statuses: how often each status came; 0 is a connection closed without an answer.
        defects: a sentence for each answer of 5xx and each hang.
        seconds: of all answers.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def report(self, what: str, status: int | None, seconds: float, text: str) -> None:
        """Note an answer."""
        with self.guard:
            self.seconds.append(seconds)
            self.statuses[-1 if status is None else status] += 1
            if status is None:
                self.defects.append(f"no answer within {HANG_SECONDS} s: {what[:300]}")
            elif status >= 500 and status != 501:  # 501 says truly that a method or an encoding is not implemented
                self.defects.append(f"{status} {text[:200]}: {what[:300]}")


@contextmanager
def memory_of(fleet: Fleet | None) -> Iterator[list[int]]:
    """Resident bytes of the API, sampled every tenth of a second inside the block."""
    samples: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while fleet is not None and not done.wait(0.1):
            samples.append(next(iter(fleet.apis.values())).memory_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def main(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    logging.basicConfig(level=logging.WARNING)
    if options.url:
        found = fuzz(options.url, None, options)
    else:
        with running(settings=SETTINGS, keep_logs=options.logs) as fleet:
            found = fuzz(next(iter(fleet.apis)), fleet, options)
    write(found, options.output)
    return 1 if found["defects"] else 0


def fuzz(url: str, fleet: Fleet | None, options: argparse.Namespace) -> dict[str, Any]:
    """Send everything, then see whether the service is well."""
    findings, dice = Findings(), random.Random(options.seed)  # noqa: S311  # not for secrets
    started = time.monotonic()
    with memory_of(fleet) as memory, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        job = real_job(client)
        shots = fixed(job)
        if options.requests < len(shots):
            shots = dice.sample(shots, options.requests // 2)
        generated = max(0, (options.requests - len(shots)) // 2)
        shots += [drawn(dice, job) for _ in range(options.requests - len(shots) - generated)]
        operations = send_generated(
            url, count=generated, number=options.seed, timeout_seconds=HANG_SECONDS, report=findings.report
        )
        shoot(url, shots, findings)
        findings.defects += health(client, fleet)
    return {
        "requests": sum(findings.statuses.values()),
        "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1),
        "by_status": {str(status): count for status, count in sorted(findings.statuses.items())},
        "generated_by_operation": dict(operations),
        "hostile": len(shots),
        "answer_seconds": quantiles(findings.seconds),
        "api_memory_mb": {"first": memory[0] >> 20, "most": max(memory) >> 20, "last": memory[-1] >> 20}
        if memory
        else {},
        "defects": findings.defects[:MOST_TOLD],
        "defects_in_all": len(findings.defects),
    }


def shoot(url: str, shots: list[Shot], findings: Findings) -> None:
    """Send hostile requests, several at a time, and cancel what they start."""

    def one(shot: Shot) -> None:
        answer: Answer = send(url, shot)
        findings.report(shot.name, answer.status, answer.seconds, answer.body[:300].decode(errors="replace"))
        if answer.job and answer.status == 202:
            httpx.post(f"{url}/v1/jobs/{answer.job}/cancel", timeout=HANG_SECONDS, trust_env=False)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(one, shots))


def real_job(client: httpx.Client) -> str:
    """Have a clip made; the id of its job."""
    answer = client.post(
        "/v1/t2v", json={"prompt": PROMPT, "seed": 1}, headers={"Prefer": "respond-async"}
    ).raise_for_status()
    job: str = answer.json()["id"]
    wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded", seconds=120)
    return job


def health(client: httpx.Client, fleet: Fleet | None) -> list[str]:
    """What doesn't work any more."""
    defects = []
    try:
        wait_until(lambda: "running" not in str(client.get("/v1/jobs?limit=20").json()), seconds=120)
        first = client.get(f"/v1/jobs/{real_job(client)}/content")
        again = client.post("/v1/t2v", json={"prompt": PROMPT, "seed": 1}, headers={"Prefer": "wait=5"})
        if first.content != again.content:
            defects.append("the same seed gives another clip than before")
        image = client.post("/v1/i2v", files={"image": picture()}, headers={"Prefer": "wait=5"})
        if image.status_code != 200:
            defects.append(f"a good image is answered {image.status_code}: {image.text[:200]}")
        if client.get("/readyz").status_code != 200:
            defects.append("the service isn't ready")
    except (httpx.HTTPError, TimeoutError) as error:
        defects.append(f"the service doesn't work any more: {error!r}")
    if fleet is not None and (dead := fleet.restart_the_dead()):
        defects.append(f"processes have ended: {dead}")
    for name, member in {} if fleet is None else fleet.apis.items():
        said = member.log.read_text(errors="replace")
        if "Traceback" in said:
            defects.append(f"{name} wrote {said.count('Traceback')} tracebacks to its log")
    return defects


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--requests", type=int, default=2000, help="in all (default: %(default)s)")
    found.add_argument("--seed", type=int, default=0, help="of what is generated (default: %(default)s)")
    found.add_argument("--url", help="of a running service; one is started without it")
    found.add_argument("--logs", type=Path, help="folder that keeps the logs of all processes")
    found.add_argument("--output", type=Path, help="JSON file to write")
    return found


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
