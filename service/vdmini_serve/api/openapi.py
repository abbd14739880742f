"""What `/docs` says about bodies and answers that the routes read and write by hand."""

from typing import Any

from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import MEDIA_TYPE, Problem
from vdmini_serve.contract.request import EXAMPLE_PROMPT, GenerationFields, ImageToVideoRequest, TextToVideoRequest

VIDEO: dict[str, Any] = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "the request cannot be served; `detail` says what to do",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    },
    "5XX": {
        "description": "the service cannot serve now",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    },
}
GENERATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "the clip, when it was ready within the wait", "content": VIDEO},
    202: {"description": "the job, when it was not; `Location` is where to ask", "model": Job},
    **PROBLEMS,
}
CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "the clip", "content": VIDEO},
    206: {"description": "a part of the clip", "content": VIDEO},
    304: {"description": "the client has it already"},
    307: {"description": "a link to the clip in its store, when the service hands those out"},
    **PROBLEMS,
}


def request_body(kind: type[GenerationFields]) -> dict[str, Any]:
    """The OpenAPI description of a route's body, as JSON and as a form."""
    json_schema, form_schema = kind.model_json_schema(), kind.model_json_schema()
    if kind is ImageToVideoRequest:
        json_schema["properties"]["image"].pop("format", None)
        json_schema["properties"]["image"]["contentEncoding"] = "base64"
    content: dict[str, Any] = {
        "application/json": {"schema": json_schema},
        "multipart/form-data": {"schema": form_schema},
    }
    if kind is TextToVideoRequest:
        content["application/json"]["example"] = {"prompt": EXAMPLE_PROMPT, "seed": 7}
    prefer = {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string"},
        "description": "`wait=N` seconds for the clip, or `respond-async` to get the job at once (RFC 7240)",
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [prefer]}
