"""`Idempotency-Key`: a request that is sent again makes no second job."""

import hashlib
import json
import re

from starlette.requests import Request

from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import GenerationFields

_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")


def idempotency_digest(request: Request) -> str | None:
    """The hash of a request's `Idempotency-Key`; None when it has none.

    Raises:
        ProblemError: when it is no key.
    """
    text = request.headers.get("idempotency-key")
    if text is None:
        return None
    if not _KEY.match(text):
        detail = "Idempotency-Key has 1 to 255 visible ASCII characters without blanks; send a UUID, say"
        raise ProblemError(ProblemKind.INVALID_FIELD, detail)
    return hashlib.sha256(text.encode()).hexdigest()


def body_digest(task: str, asked: GenerationFields, image: bytes | None) -> str:
    """A hash of what a request says, the same for a form and for JSON; defaults count as said."""
    said = asked.model_dump(mode="json", exclude={"image"})
    said["image"] = None if image is None else hashlib.sha256(image).hexdigest()
    return hashlib.sha256(json.dumps([task, said], sort_keys=True).encode()).hexdigest()
