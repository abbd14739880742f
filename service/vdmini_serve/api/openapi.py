"""What `/docs` says about bodies and answers that the routes read and write by hand. Examples: `api.examples`."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Annotated, Any

from fastapi import FastAPI, Path
from pydantic.json_schema import models_json_schema

from vdmini_serve.api import examples, thumbnail
from vdmini_serve.api.video_request import VideoRequest
from vdmini_serve.contract.comparison import Side
from vdmini_serve.contract.job import Job
from vdmini_serve.contract.problem import MEDIA_TYPE, STATUS, Problem, ProblemKind
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import GenerationFields, ImageToVideoRequest, TextToVideoRequest

Responses = dict[int | str, dict[str, Any]]

JobId = Annotated[str, Path(description="what POST answered in `id`", examples=[examples.JOB_ID])]
VideoId = Annotated[str, Path(description="what POST answered in `id`; a job's id", examples=[examples.JOB_ID])]
BallotId = Annotated[str, Path(description="what POST answered in `id`", examples=[examples.BALLOT_ID])]
BallotSide = Annotated[Side, Path(description="left or right", examples=["left"])]
ModelName = Annotated[str, Path(description="name of a loaded model", examples=[examples.MODEL_NAME])]

REF = "#/components/schemas/{model}"
JSON = "application/json"


def header(description: str, example: str) -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "schema": {"type": "string"}, "example": example}


def answer(description: str, example: str, **more: Any) -> dict[str, Any]:
    """A JSON answer with one of `examples.ANSWERS`; FastAPI adds the schema where the route says what it returns.

    Examples are referred to because FastAPI takes every null out of those that it is given.
    """
    return {"description": description, "content": {JSON: {"examples": shown(example)}}, **more}


def shown(example: str) -> dict[str, Any]:
    """A reference to one of `examples.ANSWERS`."""
    return {example: {"$ref": f"#/components/examples/{example}"}}


def links(path: str, parameter: str, *followers: str) -> dict[str, Any]:
    """What can be asked next about the id in an answer: routes behind its own, and their methods."""
    found = {}
    for follower in followers:
        method, _, rest = follower.partition(" ")
        reference = f"{path}/{{{parameter}}}{rest}".replace("/", "~1")
        found[follower.replace(" /", "-")] = {
            "operationRef": f"#/paths/{reference}/{method}",
            "parameters": {parameter: "$response.body#/id"},
        }
    return found


def _problem_content(kinds: Iterable[ProblemKind]) -> dict[str, Any]:
    found = {kind.value: {"value": examples.example_problem(kind)} for kind in kinds}
    return {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, "examples": found}}


def problems(*kinds: ProblemKind) -> Responses:
    """The errors of a route: those of its own by status, and beside them whatever else may happen."""
    by_status: dict[int | str, list[ProblemKind]] = {}
    for kind in kinds:
        by_status.setdefault(STATUS.get(kind, 422), []).append(kind)
    found: Responses = {
        status: {"description": ", or ".join(kind.value for kind in same), "content": _problem_content(same)}
        for status, same in sorted(by_status.items(), key=str)
    }
    return found | deepcopy(PROBLEMS)


PROBLEMS: Responses = {
    "4XX": {
        "description": "the request cannot be served; `detail` says what to do",
        "content": _problem_content([ProblemKind.INVALID_FIELD]),
    },
    "5XX": {
        "description": "the service cannot serve now",
        "content": _problem_content([ProblemKind.STORE_UNAVAILABLE, ProblemKind.INTERNAL_ERROR]),
    },
}
_SUBMITTING = (
    *(ProblemKind.BROKEN_JSON, ProblemKind.BROKEN_FORM, ProblemKind.BODY_TOO_LARGE),
    *(ProblemKind.UNSUPPORTED_CONTENT_TYPE, ProblemKind.UNKNOWN_FIELD, ProblemKind.MISSING_FIELD),
    *(ProblemKind.INVALID_FIELD, ProblemKind.OUTSIDE_LIMITS, ProblemKind.UNKNOWN_VARIANT, ProblemKind.PROMPT_TOO_LONG),
    *(ProblemKind.UNSUPPORTED_IMAGE, ProblemKind.IMAGE_TOO_LARGE, ProblemKind.QUEUE_FULL),
    *(ProblemKind.URL_REFUSED, ProblemKind.IMAGE_UNREACHABLE, ProblemKind.IMAGE_TOO_SLOW, ProblemKind.FEATURE_OFF),
    *(ProblemKind.NO_MODEL_LOADED, ProblemKind.STORE_UNAVAILABLE, ProblemKind.KEY_MISSING, ProblemKind.KEY_UNKNOWN),
    *(ProblemKind.PRIORITY_NOT_ALLOWED, ProblemKind.IDEMPOTENCY_CONFLICT, ProblemKind.QUEUE_TOO_SLOW),
    *(ProblemKind.TOO_MANY_OF_YOURS, ProblemKind.TOO_MANY_REQUESTS, ProblemKind.NO_VARIANT_FAST_ENOUGH),
)
_WHILE_WAITING = (
    *(ProblemKind.JOB_CANCELLED, ProblemKind.INTERNAL_ERROR, ProblemKind.WORKER_LOST),
    *(ProblemKind.OUT_OF_MEMORY, ProblemKind.STORAGE_FULL, ProblemKind.QUEUED_TOO_LONG),
)
_ONE_JOB = problems(ProblemKind.KEY_MISSING, ProblemKind.UNKNOWN_JOB, ProblemKind.STORE_UNAVAILABLE)

_ETAG = {
    "ETag": header("of the file: it never changes", f'"{examples.SHA256}"'),
    "X-VDMini-Job": header("id of the job", examples.JOB_ID),
}
_TIMING = header("stages in milliseconds", "queue;dur=20.0, denoise;dur=210.0")
_POLL = {"openai-poll-after-ms": header("milliseconds until asking again makes sense", "1000")}
VIDEO: dict[str, Any] = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
STILL: dict[str, Any] = {thumbnail.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}

GENERATED: Responses = {
    200: {
        "description": "the clip, when it was ready within the wait",
        "content": VIDEO,
        "headers": {**_ETAG, "Server-Timing": _TIMING},
    },
    202: answer(
        "the job, when it was not",
        "QueuedJob",
        model=Job,
        headers={"Location": header("where to ask", f"/v1/jobs/{examples.JOB_ID}")},
        links=links("/v1/jobs", "job_id", "get", "get /content", "get /events", "post /cancel"),
    ),
    **problems(*_SUBMITTING, *_WHILE_WAITING),
}
CONTENT: Responses = {
    200: {"description": "the clip", "content": VIDEO, "headers": {**_ETAG, "Server-Timing": _TIMING}},
    206: {
        "description": "a part of the clip",
        "content": VIDEO,
        "headers": {**_ETAG, "Content-Range": header("which part", "bytes 0-1023/5120")},
    },
    304: {"description": "the client has it already"},
    307: {"description": "a link to the clip in its store, when the service hands those out"},
    **problems(
        *(ProblemKind.KEY_MISSING, ProblemKind.UNKNOWN_JOB, ProblemKind.JOB_NOT_SUCCEEDED, ProblemKind.CONTENT_GONE),
        *(ProblemKind.RANGE_NOT_SATISFIABLE, ProblemKind.STORE_UNAVAILABLE),
    ),
}
JOB: Responses = {200: answer("the job", "Job"), **_ONE_JOB}
JOB_PAGE: Responses = {200: answer("a page of jobs", "JobPage"), **_ONE_JOB}
EVENTS: Responses = {
    200: {
        "description": "the job's states",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": examples.EVENTS}},
    },
    204: {"description": "the job is finished, and the client knows"},
    **_ONE_JOB,
}
MODEL: Responses = {200: answer("the model", "Model"), **problems(ProblemKind.KEY_MISSING, ProblemKind.UNKNOWN_MODEL)}
MODELS: Responses = {200: answer("the models", "Models"), **problems(ProblemKind.KEY_MISSING)}
RECEIPT: Responses = {
    200: answer("the receipt", "Receipt"),
    **problems(ProblemKind.KEY_MISSING, ProblemKind.UNKNOWN_MODEL),
}

_BODY = (
    *(ProblemKind.BROKEN_JSON, ProblemKind.UNSUPPORTED_CONTENT_TYPE, ProblemKind.MISSING_FIELD),
    *(ProblemKind.UNKNOWN_FIELD, ProblemKind.INVALID_FIELD, ProblemKind.KEY_MISSING),
)
STANDINGS: Responses = {200: answer("votes", "Standings"), **problems(ProblemKind.KEY_MISSING)}
COMPARISON_MADE: Responses = {
    201: answer("the comparison; the same two jobs always make the same one", "Comparison"),
    **problems(
        *(*_BODY, ProblemKind.UNKNOWN_JOB, ProblemKind.JOB_NOT_SUCCEEDED, ProblemKind.NOT_COMPARABLE),
        ProblemKind.TOO_MANY_REQUESTS,
    ),
}
BALLOT_DRAWN: Responses = {
    201: answer(
        "two clips to vote on",
        "Ballot",
        links=links("/v1/comparisons/ballots", "ballot_id", "get /clips/{side}", "post /vote"),
    ),
    204: {"description": "this voter has voted on all comparisons that there are"},
    **problems(*_BODY, ProblemKind.TOO_MANY_REQUESTS),
}
BALLOT_CLIP: Responses = {
    200: {"description": "the clip", "content": VIDEO},
    **problems(
        *(ProblemKind.KEY_MISSING, ProblemKind.UNKNOWN_BALLOT, ProblemKind.UNKNOWN_JOB, ProblemKind.CONTENT_GONE),
        ProblemKind.INVALID_FIELD,
    ),
}
VOTED: Responses = {
    200: answer("which clip was whose", "Reveal"),
    **problems(*_BODY, ProblemKind.UNKNOWN_BALLOT, ProblemKind.ALREADY_VOTED),
}

VIDEO_MADE: Responses = {
    200: answer(
        "the video that will be made",
        "QueuedVideo",
        headers={
            "Location": header("where to ask", f"/v1/videos/{examples.JOB_ID}"),
            "X-VDMini-Ignored": header("fields that were not read", "prompt"),
            **_POLL,
        },
        links=links("/v1/videos", "video_id", "get", "get /content", "delete"),
    ),
    **problems(*_SUBMITTING),
}
VIDEO_STATUS: Responses = {200: answer("the video", "Video", headers=_POLL), **_ONE_JOB}
VIDEO_PAGE: Responses = {200: answer("a page of videos", "VideoPage"), **_ONE_JOB}
VIDEO_DELETED: Responses = {200: answer("it is gone", "DeletedVideo"), **_ONE_JOB}
VIDEO_CONTENT: Responses = {
    **CONTENT,
    200: {"description": "the clip, or its still", "content": VIDEO | STILL, "headers": _ETAG},
}

ALIVE: Responses = {200: answer("it runs", "Alive")}
READY: Responses = {200: answer("ready", "Ready"), 503: answer("not now", "NotReady")}
METRICS: Responses = {
    200: {
        "description": "metrics in Prometheus' text format",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}},
    },
}

BODIES: dict[type[Record], tuple[dict[str, Any], dict[str, Any]]] = {
    TextToVideoRequest: (examples.TEXT_TO_VIDEO, examples.TEXT_TO_VIDEO),
    ImageToVideoRequest: (examples.IMAGE_TO_VIDEO, {**examples.IMAGE_TO_VIDEO, "image": "(the file)"}),
    VideoRequest: (examples.VIDEO_REQUEST, examples.VIDEO_FORM),
}
"""Examples of a body as JSON and as a form."""

PREFER = {
    "name": "Prefer",
    "in": "header",
    "schema": {"type": "string"},
    "description": "`wait=N` seconds for the clip, or `respond-async` to get the job at once (RFC 7240)",
    "example": "respond-async",
}

IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "a request that is sent again with the same key makes no second job; the answer then says "
    "`Idempotent-Replayed: true`",
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key, where the service asks for one",
}


def request_body(kind: type[Record]) -> dict[str, Any]:
    """The OpenAPI description of a route's body, as JSON and as a form."""
    as_json, as_form = BODIES[kind]
    content = {
        JSON: {"schema": _in_base64(kind.model_json_schema()), "example": as_json},
        "multipart/form-data": {"schema": _without_null(kind.model_json_schema()), "example": as_form},
    }
    described: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    headers = [PREFER, IDEMPOTENCY] if issubclass(kind, GenerationFields) else [IDEMPOTENCY]
    return described | {"parameters": headers}


def json_body(kind: type[Record], example: str) -> dict[str, Any]:
    """The OpenAPI description of a body that is JSON only, with one of `examples.BODIES`."""
    content = {JSON: {"schema": kind.model_json_schema(), "example": examples.BODIES[example]}}
    return {"requestBody": {"required": True, "content": content}}


def _in_base64(schema: Any) -> Any:
    """The same schema with files as base64 text, as JSON has them."""
    if isinstance(schema, list):
        return [_in_base64(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "binary":
        return {name: each for name, each in schema.items() if name != "format"} | {"contentEncoding": "base64"}
    return {name: _in_base64(each) for name, each in schema.items()}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with nothing that may be null: a form leaves out what it doesn't say."""
    for field in schema["properties"].values():
        kinds = [each for each in field.pop("anyOf", ()) if each.get("type") != "null"]
        field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
        if field.get("default", "") is None:
            del field["default"]
    return schema


def install(app: FastAPI) -> None:
    """Complete an application's document by what no route returns by itself."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        made = plain()
        _, schemas = models_json_schema([(Problem, "serialization")], ref_template=REF)
        made["components"]["schemas"].update(schemas["$defs"])
        made["components"]["securitySchemes"] = {"key": BEARER}
        made["security"] = [{}, {"key": []}]
        made["components"]["examples"] = {name: {"value": value} for name, value in examples.ANSWERS.items()}
        return made

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend it
