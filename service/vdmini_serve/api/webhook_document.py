"""What `/docs` says about the webhook that `api.webhooks` sends."""

from typing import Annotated

from fastapi import FastAPI, Header

from vdmini_serve.api.examples import JOB_ID
from vdmini_serve.api.openapi import JSON, shown
from vdmini_serve.contract.job import Job


def document_webhook(app: FastAPI) -> None:
    """Add the webhook to an application's OpenAPI document."""
    app.webhooks.add_api_route(
        "job-finished",
        _job_finished,
        methods=["POST"],
        status_code=204,
        summary="A job has reached its last state",
        tags=["webhooks"],
        responses={"4XX": {"description": "refused: it is sent again later, but for 410"}},
        openapi_extra={"requestBody": {"content": {JSON: {"examples": shown("Job")}}}},
    )


async def _job_finished(
    job: Job,
    webhook_id: Annotated[
        str, Header(description="the job's id, the same at each attempt: drop what you had before", examples=[JOB_ID])
    ],
    webhook_timestamp: Annotated[
        int, Header(description="Unix time of the attempt in seconds; refuse old ones", examples=[1767225600])
    ],
    webhook_signature: Annotated[
        str,
        Header(
            description="`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one for each key, by spaces",
            examples=["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        ),
    ],
) -> None:
    """Sent to the request's `webhook_url` until it is answered with 2xx, at least once; 410 ends it at once."""
