"""Reading a request's body: bytes are counted while they stream in, then parsed. Meaning is left to `api.admission`."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from vdmini_serve.contract.problem import ProblemError, ProblemKind

FORM_OVERHEAD_BYTES = 64 * 1024
"""What the other fields of a form or of a JSON object may take beside the image."""
MAX_FORM_FIELDS = 64
DRAIN_BYTES = 64 * 2**20
DRAIN_SECONDS = 10.0
"""A client that sends too much is listened to for a while, so that it gets to read why it was refused."""


@dataclass(frozen=True)
class Fields:
    """What a body said.

    Args:
        values: by field name; an image is bytes.
        typed: whether numbers are numbers (JSON) and not text (forms).
    """

    values: dict[str, Any]
    typed: bool


def limited(request: Request, limit: int) -> Request:
    """The same request, which raises `ProblemError` as soon as its body is longer than `limit` bytes."""
    seen = 0

    async def receive() -> Any:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            await _drain(request, message)
            _too_large(limit)
        return message

    return Request(request.scope, receive)


async def _drain(request: Request, message: Any) -> None:
    drained = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while message.get("more_body") and drained < DRAIN_BYTES:
                message = await request.receive()
                drained += len(message.get("body", b""))
    except TimeoutError:
        return


def _too_large(limit: int) -> NoReturn:
    detail = f"the body has more than the {limit} bytes that are allowed here; send a smaller image or a shorter text"
    raise ProblemError(ProblemKind.BODY_TOO_LARGE, detail, headers={"Connection": "close"})


async def read_fields(request: Request, max_upload_bytes: int) -> Fields:
    """Read a JSON object or a form.

    Raises:
        ProblemError: for a body that is too long, of another type, or broken.
    """
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    kind = header.get_content_type() if request.headers.get("content-type") else "none"
    if kind == "application/json":
        return Fields(_parse_json(await limited(request, _json_limit(max_upload_bytes)).body()), typed=True)
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return Fields(await _read_form(limited(request, max_upload_bytes + FORM_OVERHEAD_BYTES)), typed=False)
    await _drain(request, {"more_body": True})
    detail = f"got a body of type {kind[:80]!r}; send application/json or multipart/form-data"
    raise ProblemError(
        ProblemKind.UNSUPPORTED_CONTENT_TYPE, detail, headers={"Accept-Post": "application/json, multipart/form-data"}
    )


def _json_limit(max_upload_bytes: int) -> int:
    return max_upload_bytes * 4 // 3 + FORM_OVERHEAD_BYTES


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ProblemError(ProblemKind.BROKEN_JSON, "the JSON is nested too deeply; send one flat object") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        detail = f"the body is no valid JSON: {error.msg} at {where}; send one JSON object"
        raise ProblemError(ProblemKind.BROKEN_JSON, detail) from error
    except ValueError as error:
        raise ProblemError(ProblemKind.BROKEN_JSON, f"the body is no valid JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise ProblemError(ProblemKind.BROKEN_JSON, f"got a JSON {type(value).__name__}; send one JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ProblemError(ProblemKind.BROKEN_JSON, f"{name} is no JSON number; send a finite number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ProblemError(ProblemKind.INVALID_FIELD, f"field {name[:80]!r} is given twice; give it once")
        if len(names) > MAX_FORM_FIELDS:
            raise ProblemError(ProblemKind.BROKEN_JSON, f"the object has more than {MAX_FORM_FIELDS} fields")
    return dict(pairs)


def decode_base64(text: object, *, name: str = "image") -> bytes:
    """The bytes of a JSON field, with or without the head of a data URL.

    Raises:
        ProblemError: when it is no base64 text.
    """
    if not isinstance(text, str):
        detail = f"{name} must be base64 text, got a {type(text).__name__}"
        raise ProblemError(ProblemKind.INVALID_FIELD, detail)
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"{name} is no base64 (RFC 4648, with padding, without line breaks); encode the file's bytes"
        raise ProblemError(ProblemKind.INVALID_FIELD, detail) from error


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[Any]:
    try:
        async with request.form(max_files=2, max_fields=MAX_FORM_FIELDS, max_part_size=FORM_OVERHEAD_BYTES) as form:
            yield form
    except (MultiPartException, HTTPException) as error:
        reason = error.message if isinstance(error, MultiPartException) else error.detail
        raise ProblemError(ProblemKind.BROKEN_FORM, f"the form cannot be read: {reason}") from error


async def _read_form(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = {}
    async with _form(request) as form:
        for name, value in form.multi_items():
            if name in values:
                raise ProblemError(ProblemKind.INVALID_FIELD, f"field {name[:80]!r} is given twice; give it once")
            values[name] = await value.read() if isinstance(value, UploadFile) else value
    return values
