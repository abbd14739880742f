"""Log lines of API and worker on standard error: JSON for machines, text for a terminal.

What is logged names jobs, requests, routes and numbers. Prompts, keys, URLs' queries and bodies are never passed in.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

from vdmini_serve.contract.settings import Settings

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
RENAMED = {"levelname": "level", "name": "logger", "exc_info": "exception"}
FIELDS = ("levelname", "name", "message")

_about: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039  # never changed, only replaced


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Put fields, `request_id` say, into each line that is logged inside the block."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def configure(settings: Settings) -> None:
    """Send this process's log lines, uvicorn's and Celery's too, to standard error in one form.

    `log_level` is for our own lines; libraries' are shown from WARNING on.
    """
    form = settings.log_format
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(_Text(TEXT) if as_text else _json())
    handler.addFilter(_add_context)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vdmini_serve").setLevel(settings.log_level.upper())


def _json() -> logging.Formatter:
    return JsonFormatter(list(FIELDS), rename_fields=RENAMED, timestamp="time")


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in _about.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


class _Text(logging.Formatter):
    """The message, then the fields that a JSON line would have beside it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields = "".join(f" {name}={value}" for name, value in extra.items() if value is not None)
        return super().formatMessage(record) + fields


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
