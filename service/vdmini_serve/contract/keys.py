"""Names in Redis and of queues. What is stored under them is left to the stores."""

from vdmini_serve.contract.lanes import LANES, Lane
from vdmini_serve.contract.request import Task

TASK_NAME = "vdmini.run"
"""The one Celery task; its one argument is a job id."""

JOBS = "vdmini:jobs"
"""Sorted set of all job ids by creation."""
ACTIVE = "vdmini:active"
"""Sorted set of the queued and running job ids by creation."""
EXPIRING = "vdmini:expiring"
"""Sorted set of the finished job ids by when they expire."""
REMOVALS = "vdmini:removals"
"""Sorted set of `id.attempts` of forgotten jobs by when their files may go."""
RESULT_BYTES = "vdmini:results:bytes"
"""Sum of the sizes of all jobs' clips."""
SWEEP = "vdmini:sweep"
"""Held by the replica that looks through the store, expiring."""
REAPING = "vdmini:reaping"
"""Held by the replica that looks for lost jobs, expiring."""
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
WEBHOOKS = "vdmini:webhooks"
"""Sorted set of the ids of jobs whose webhook must be sent, by the time when it is due."""
QUEUES_PATTERN = "vdmini.*"
"""Glob of the names of all queues in the broker's database."""

ACTIVE_COST = "vdmini:active:cost"
"""Sum of the costs of the queued and running jobs."""
ACCESS_KEYS = "vdmini:access-keys"
"""Hash sha256 of an API key -> AccessKey."""
RECEIPTS = "vdmini:receipts"
"""Hash name -> Receipt."""
COMPARISONS = "vdmini:comparisons"
"""Sorted set of the ids of all comparisons by when they expire."""


def job_key(job_id: str) -> str:
    """Hash of a job."""
    return f"vdmini:job:{job_id}"


def image_key(job_id: str) -> str:
    """PNG bytes of a job's image, until it is finished."""
    return f"vdmini:image:{job_id}"


def lease_key(job_id: str) -> str:
    """Owner and attempt of a running job, expiring."""
    return f"vdmini:lease:{job_id}"


def jobs_of(owner: str) -> str:
    """Sorted set of the job ids of an API key by creation; of all jobs without one."""
    return f"{JOBS}:of:{owner}" if owner else JOBS


def active_of(owner: str) -> str:
    """Set of the queued and running job ids of an API key."""
    return f"{ACTIVE}:of:{owner}"


def comparisons_of(owner: str) -> str:
    """Sorted set of the comparison ids of an API key by when they expire; of all without one."""
    return f"{COMPARISONS}:of:{owner}" if owner else COMPARISONS


def comparison_key(comparison_id: str) -> str:
    """Hash of a comparison, expiring with its jobs."""
    return f"vdmini:comparison:{comparison_id}"


def voters_key(comparison_id: str) -> str:
    """Set of the marks of those who voted on a comparison, expiring with it."""
    return f"vdmini:comparison:{comparison_id}:voters"


def ballot_key(ballot_id: str) -> str:
    """Hash of a ballot, expiring."""
    return f"vdmini:ballot:{ballot_id}"


def idempotency_key(owner: str, digest: str) -> str:
    """Job and body that an owner's `Idempotency-Key` stands for; the key itself is hashed."""
    return f"vdmini:idempotency:{owner}:{digest}"


def queue_names(task: Task | str) -> tuple[str, ...]:
    """All queues of a task, the most urgent first."""
    return tuple(queue_name(task, lane) for lane in LANES)


def queue_name(task: Task | str, lane: Lane = "normal") -> str:
    """Queue of a task and priority: one queue each, since Redis priorities hide from LLEN."""
    return f"vdmini.{task}.{lane}"
