"""The `Prefer` header (RFC 7240): whether a client waits for its clip, and how long."""

import re

_WAIT = re.compile(r"^\d{1,6}$")


def wait_seconds(header: str | None, *, default: float, most: float) -> tuple[float, str | None]:
    """Read `respond-async` and `wait=N`; preferences that make no sense are ignored, as the standard says.

    Returns:
        How long to wait in seconds, and what to say in `Preference-Applied`.
    """
    preferences: dict[str, str] = {}
    for part in (header or "").lower().split(","):
        name, _, value = part.split(";")[0].partition("=")
        preferences.setdefault(name.strip(), value.strip().strip('"'))
    wait = preferences.get("wait", "")
    if _WAIT.match(wait):
        seconds = min(float(wait), most)
        return seconds, f"wait={seconds:g}"
    if "respond-async" in preferences:
        return 0.0, "respond-async"
    return default, None
