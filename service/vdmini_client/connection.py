"""How both clients reach a service: where, as whom, and how patiently."""

import ipaddress
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from vdmini_client.errors import UnreachableError

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 10.0
API_KEY = "VDMINI_API_KEY"
"""Environment variable with the API key."""


def connection(base_url: str, api_key: str | None, timeout_seconds: float) -> dict[str, Any]:
    """Arguments of `httpx.Client` and `httpx.AsyncClient`.

    Raises:
        UnreachableError: when the URL is none.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise UnreachableError(f"{base_url!r} is no URL: {error}; give one such as {DEFAULT_URL}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UnreachableError(f"{base_url!r} is no http URL; give one such as {DEFAULT_URL}")
    key = os.environ.get(API_KEY) if api_key is None else api_key
    headers = {"User-Agent": f"vdmini-client/{_version()}"} | ({"Authorization": f"Bearer {key}"} if key else {})
    timeout = httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
    return {"base_url": url, "headers": headers, "timeout": timeout, "trust_env": not _is_here(url.host)}


def _is_here(host: str) -> bool:
    """Whether a host is this machine, which no proxy of the environment can reach for us."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version() -> str:
    try:
        return version("vdmini")
    except PackageNotFoundError:
        return "unknown"
