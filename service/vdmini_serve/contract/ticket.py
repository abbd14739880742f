"""What is noted of a job beside its work: whose it is, how urgent, how large, how long it may wait."""

from pydantic import Field

from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.record import Record
from vdmini_serve.contract.request import JobSpec

ANYBODY = ""
"""The owner of jobs where no API key is asked for."""


class Ticket(Record):
    """How a job was admitted."""

    lane: Lane = Field(default="normal", description="its priority")
    owner: str = Field(default=ANYBODY, description="id of the API key that sent it")
    max_active_of_owner: int | None = Field(default=None, description="jobs that the owner may have at once")
    max_queue_seconds: float | None = Field(default=None, description="longest wait for a start before it fails")
    expected_seconds: float | None = Field(default=None, description="measured time of such work, when known")
    choice: str | None = Field(default=None, description="why this model and these steps, when the service chose them")
    webhook_url: str | None = Field(default=None, description="who is told when the job is finished")
    traceparent: str | None = Field(default=None, description="the trace that it belongs to (W3C)")
    idempotency: str | None = Field(default=None, description="sha256 of the Idempotency-Key")
    body: str | None = Field(default=None, description="sha256 of what the request said, beside an Idempotency-Key")


def cost_of(spec: JobSpec) -> int:
    """Frames x pixels x steps: what a job declares to cost."""
    return spec.num_frames * spec.width * spec.height * spec.num_inference_steps
