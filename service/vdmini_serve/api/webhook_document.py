"""What `/docs` says about the webhook that `api.webhooks` sends."""

from typing import Annotated

from fastapi import FastAPI, Header

from vdmini_serve.contract.job import Job


def document_webhook(app: FastAPI) -> None:
    """Add the webhook to an application's OpenAPI document."""
    app.webhooks.add_api_route(
        "job-finished", _job_finished, methods=["POST"], status_code=204, summary="A job has reached its last state"
    )


async def _job_finished(
    job: Job,
    webhook_id: Annotated[str, Header(description="the job's id, the same at each attempt: drop what you had before")],
    webhook_timestamp: Annotated[int, Header(description="Unix time of the attempt in seconds; refuse old ones")],
    webhook_signature: Annotated[
        str, Header(description="`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one for each key, by spaces")
    ],
) -> None:
    """Sent to the request's `webhook_url` until it is answered with 2xx, at least once; 410 ends it at once."""
