"""How long to wait before asking again: the service's hints first, an own back-off else. Waiting is left to others."""

from collections.abc import Mapping
from dataclasses import dataclass

from vdmini_client.answers import Job
from vdmini_client.errors import retry_after

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 5.0
"""Of a pause between two polls that the service gives no hint for."""


@dataclass(frozen=True)
class Retries:
    """Bounds on sending one request again.

    Args:
        most: how often at most.
        seconds: the pauses together at most; a longer `Retry-After` is not waited for but raised.
    """

    most: int = 4
    seconds: float = 60.0

    def pause(self, tried: int, spent: float, hint: float | None) -> float | None:
        """Seconds until the next try; None when there is none.

        Args:
            tried: tries that failed.
            spent: pauses so far, in seconds.
            hint: what the service asked for.
        """
        pause = 0.25 * 2 ** (tried - 1) if hint is None else hint
        return None if tried > self.most or spent + pause > self.seconds else pause


def poll_pause(job: Job, headers: Mapping[str, str], polls: int) -> float:
    """Seconds until asking for an unfinished job again.

    Args:
        job: as the service told it.
        headers: that came with it.
        polls: how often it was asked for.
    """
    hint = headers.get("openai-poll-after-ms", "")
    if hint.isascii() and hint.isdigit():
        return int(hint) / 1000
    if (asked := retry_after(headers)) is not None:
        return asked
    if job.eta_seconds is not None:
        return min(max(job.eta_seconds / 2, SHORTEST_SECONDS), LONGEST_SECONDS)
    return min(SHORTEST_SECONDS * 1.5**polls, LONGEST_SECONDS)
