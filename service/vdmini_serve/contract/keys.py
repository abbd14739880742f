"""Names in Redis and of queues. What is stored under them is left to the stores."""

from typing import Literal

from vdmini_serve.contract.request import Task

TASK_NAME = "vdmini.run"
"""The one Celery task; its one argument is a job id."""

JOBS = "vdmini:jobs"
"""Sorted set of all job ids by creation."""
ACTIVE = "vdmini:active"
"""Sorted set of the queued and running job ids by creation."""
METRICS = "vdmini:metrics"
"""Hash of all counters and histogram cells."""
MODELS = "vdmini:models"
"""Hash name -> ModelDescriptor."""
MODELS_SEEN = "vdmini:models:seen"
"""Sorted set of model names by the last time a worker had them."""
WORKERS = "vdmini:workers"
"""Hash worker id -> WorkerBeat."""
SAMPLES = "vdmini:samples"
"""Set of the keys of all engine timings."""
FINISHED_CHANNEL = "vdmini:finished"
"""Channel on which the ids of finished jobs are announced."""
QUEUES_PATTERN = "vdmini.*"
"""Glob of the names of all queues in the broker's database."""

Lane = Literal["normal"]


def job_key(job_id: str) -> str:
    """Hash of a job."""
    return f"vdmini:job:{job_id}"


def image_key(job_id: str) -> str:
    """PNG bytes of a job's image, until it is finished."""
    return f"vdmini:image:{job_id}"


def lease_key(job_id: str) -> str:
    """Owner and attempt of a running job, expiring."""
    return f"vdmini:lease:{job_id}"


def queue_name(task: Task | str, lane: Lane = "normal") -> str:
    """Queue of a task and priority: one queue each, since Redis priorities hide from LLEN."""
    return f"vdmini.{task}.{lane}"
