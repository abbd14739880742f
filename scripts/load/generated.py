"""Requests that schemathesis makes from the service's own OpenAPI document, good ones and bad ones."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

ASYNC = {"Prefer": "respond-async"}
"""A generated request must not wait for a clip, and what it starts is cancelled."""
MOST_TURNS = 50


def send_generated(
    url: str, *, count: int, number: int, timeout_seconds: float, report: Callable[[str, int | None, float, str], None]
) -> Counter[str]:
    """Send about so many requests, shared out evenly among operations.

    Args:
        url: of the service.
        count: requests in all.
        number: seed.
        timeout_seconds: after which an answer counts as a hang.
        report: gets what was asked, the status or None for a hang, seconds, and the answer's text.

    Returns:
        Requests by operation.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations()]
    operations = [each for each in operations if not _endless(each)]
    sent: Counter[str] = Counter()
    share = max(1, count // (2 * len(operations)))
    with requests.Session() as session:
        session.trust_env = False
        for turn in range(MOST_TURNS):  # an operation that takes nothing has one request only
            for operation in operations:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    if sent.total() < count:
                        _send(operation, mode, session, share, number + turn, timeout_seconds, report, sent)
    return sent


def _endless(operation: Any) -> bool:
    """A stream of events has no end to wait for."""
    return bool(operation.path.endswith("/events"))


def _send(
    operation: Any,
    mode: GenerationMode,
    session: requests.Session,
    share: int,
    number: int,
    timeout_seconds: float,
    report: Callable[[str, int | None, float, str], None],
    sent: Counter[str],
) -> None:
    @seed(number)
    @settings(
        max_examples=share,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        sent[operation.label] += 1
        try:
            answer = case.call(session=session, headers=ASYNC, timeout=timeout_seconds)
        except requests.Timeout:
            report(case.as_curl_command(), None, timeout_seconds, "")
            return
        report(
            case.as_curl_command(), answer.status_code, answer.elapsed, answer.content[:2000].decode(errors="replace")
        )
        job = answer.headers.get("x-vdmini-job")
        if job and answer.status_code in (200, 202):
            session.post(f"{case.operation.base_url}/v1/jobs/{job[0]}/cancel", timeout=timeout_seconds)

    with suppress(Unsatisfiable):  # nothing can be wrong with an operation that takes nothing
        ask()
