"""Every metric, declared once. Counting happens in Redis, in the same transaction as the change that is counted.

So counts equal jobs with any number of processes and after any crash, and every API replica shows the same numbers:
scrape them through one address (a Service), never each replica by itself.
Rendering is left to `api.exposition`.
"""

import json
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

LATENCY_BUCKETS = (
    0.05,
    0.1,
    0.2,
    0.35,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    7.5,
    10,
    15,
    20,
    30,
    45,
    60,
    90,
    120,
    300,
    600,
    1200,
)
"""Small models take 0.1..1 s, the big ones 1..60 s on a GPU and up to 20 minutes on a CPU; neighbours lie at most a
factor of 2 apart below two minutes, so that a speed-up of 1.5 shows in the quantiles."""

WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200)
"""An idle worker starts within milliseconds; a queue of big jobs lasts minutes."""

RATIO_BUCKETS = (0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 32)
"""Close around 1, where a compressed model begins to be slower; few-step students reach beyond 10."""

DRIFT_BUCKETS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1, 1.05, 1.25, 1.5, 2, 4, 10, 15, 20, 25, 30, 35, 40, 50)
"""One family has one set of buckets: up to 1 for the ssim, around 1 for the ratio of motions, from 10 for the psnr."""


@dataclass(frozen=True)
class Family:
    """One metric.

    Args:
        name: without the suffixes that the exposition adds; counters end in `_total`.
        kind: counter, histogram or gauge.
        documentation: what it says, unit included.
        labels: in order; none of them is a prompt, a user or a job.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    documentation: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


JOBS = Family("vdmini_jobs_total", "counter", "Finished jobs.", ("task", "variant", "outcome"))
JOB_FAILURES = Family(
    "vdmini_job_failures_total",
    "counter",
    "Failed jobs by the kind of their problem: those of HTTP status 500 and above are the service's fault.",
    ("task", "variant", "reason"),
)
JOB_LATENCY = Family(
    "vdmini_job_latency_seconds",
    "histogram",
    "Seconds of succeeded jobs from the worker's start to the finished MP4; size is width x height x frames.",
    ("task", "variant", "size", "steps"),
    LATENCY_BUCKETS,
)
QUEUE_WAIT = Family(
    "vdmini_queue_wait_seconds", "histogram", "Seconds from acceptance to the start.", ("task", "variant"), WAIT_BUCKETS
)
STAGE = Family(
    "vdmini_stage_seconds", "histogram", "Seconds of a stage.", ("stage", "task", "variant"), LATENCY_BUCKETS
)
BASELINE = Family(
    "vdmini_baseline_latency_seconds",
    "gauge",
    "Median engine seconds of the uncompressed teacher, measured on this device.",
    ("task", "size", "steps", "guidance", "teacher", "device"),
)
BASELINE_AT = Family(
    "vdmini_baseline_timestamp_seconds",
    "gauge",
    "Unix time of the newest run behind vdmini_baseline_latency_seconds.",
    BASELINE.labels,
)
SPEEDUP = Family(
    "vdmini_speedup_ratio",
    "gauge",
    "Median engine seconds of the teacher over those of the model, both measured on this device.",
    ("task", "size", "steps", "guidance", "teacher", "device", "model"),
)
SPEEDUP_AT = Family(
    "vdmini_speedup_timestamp_seconds",
    "gauge",
    "Unix time of the model's newest run behind vdmini_speedup_ratio; the teacher's is that of the baseline.",
    SPEEDUP.labels,
)
RECEIPT_SPEEDUP = Family(
    "vdmini_receipt_speedup_ratio",
    "gauge",
    "What a model's receipt promises: seconds of the teacher over its own, measured when it was made, on that device.",
    ("task", "size", "steps", "model", "device"),
)
QUEUE_JOBS = Family("vdmini_queue_jobs", "gauge", "Jobs waiting in the broker, and running.", ("queue", "state"))
QUEUE_OLDEST = Family(
    "vdmini_queue_oldest_seconds",
    "gauge",
    "Seconds since the acceptance of the job that has waited longest; 0 when none waits.",
    ("queue",),
)
WORKERS = Family(
    "vdmini_workers", "gauge", "Workers that give signs of life; stalled ones idle beside a waiting job.", ("state",)
)
ESCALATIONS = Family(
    "vdmini_escalations_total",
    "counter",
    "Clips of compressed models that failed the check, so that the teacher was asked instead.",
    ("task", "reason"),
)
SHADOW_RUNS = Family(
    "vdmini_shadow_runs_total",
    "counter",
    "Re-runs of finished jobs on the teacher: compared, or preempted by real work.",
    ("task", "model", "outcome"),
)
SHADOW_SPEEDUP = Family(
    "vdmini_shadow_speedup_ratio",
    "histogram",
    "Engine seconds of the teacher's re-run over those of the very job that was served.",
    ("task", "model"),
    RATIO_BUCKETS,
)
SHADOW_DRIFT = Family(
    "vdmini_shadow_drift",
    "histogram",
    "Served clip beside the teacher's of the same input and seed: psnr in dB, at most 60; ssim, 1 where equal; motion, "
    "mean step of the served clip over the teacher's.",
    ("task", "model", "metric"),
    DRIFT_BUCKETS,
)
REJECTED = Family("vdmini_rejected_total", "counter", "Requests answered with a problem.", ("reason",))
WEBHOOK_DELIVERIES = Family(
    "vdmini_webhook_deliveries_total",
    "counter",
    "Attempts at sending a webhook: delivered, retried (failed, and tried again later) or failed (given up).",
    ("outcome",),
)
MODEL_INFO = Family("vdmini_model_info", "gauge", "1 for each loaded model.", ("name", "task", "variant", "teacher"))
RESULTS_REMOVED = Family(
    "vdmini_results_removed_total",
    "counter",
    "Files removed: expired with their job, stray (of dead attempts), or partial (left by dead processes).",
    ("reason",),
)
VOTES = Family(
    "vdmini_votes_total",
    "counter",
    "Answers of people who saw a clip of the model beside its teacher's without knowing which is which: looks better, "
    "moves more naturally; vdmini, teacher, or same where they saw no difference.",
    ("task", "model", "question", "preferred"),
)
PREFERENCE = Family(
    "vdmini_preference_rate",
    "gauge",
    "Share of those answers that prefer the compressed model; no difference counts as half. 0.5 is as good as the "
    "teacher.",
    ("task", "model", "question"),
)
PREFERENCE_LOW = Family(
    "vdmini_preference_rate_low", "gauge", "Lower end of its 95 % interval (Wilson).", PREFERENCE.labels
)
PREFERENCE_HIGH = Family(
    "vdmini_preference_rate_high", "gauge", "Upper end of its 95 % interval (Wilson).", PREFERENCE.labels
)
RESULTS_BYTES = Family("vdmini_results_bytes", "gauge", "Bytes of the clips of all jobs.", ())
REDIS_UP = Family(
    "vdmini_redis_up", "gauge", "1 while the API reaches Redis; at 0 it tells nothing that is kept there.", ()
)
DISK_FREE = Family(
    "vdmini_disk_free_bytes",
    "gauge",
    "Room on the volume of the clips, as the API sees it, and on the fullest of all workers' volumes of artifacts. "
    "None for a store without a bound.",
    ("volume",),
)
DISK_SIZE = Family(
    "vdmini_disk_size_bytes", "gauge", "Size of the volume that vdmini_disk_free_bytes is about.", ("volume",)
)
GPU_MEMORY_PEAK = Family(
    "vdmini_gpu_memory_peak_bytes",
    "gauge",
    "Most memory of a GPU that torch held while a model made a clip, since its worker's child started; the weights of "
    "the other loaded models are in it. The highest of all workers.",
    ("model", "device"),
)

FAMILIES = (
    *(JOBS, JOB_FAILURES, JOB_LATENCY, QUEUE_WAIT, STAGE),
    *(BASELINE, BASELINE_AT, SPEEDUP, SPEEDUP_AT, RECEIPT_SPEEDUP),
    *(QUEUE_JOBS, QUEUE_OLDEST, WORKERS, REJECTED, MODEL_INFO),
    *(REDIS_UP, DISK_FREE, DISK_SIZE, GPU_MEMORY_PEAK),
    *(RESULTS_REMOVED, RESULTS_BYTES),
    WEBHOOK_DELIVERIES,
    *(ESCALATIONS, SHADOW_RUNS, SHADOW_SPEEDUP, SHADOW_DRIFT),
    *(VOTES, PREFERENCE, PREFERENCE_LOW, PREFERENCE_HIGH),
)

OUTCOMES = ("succeeded", "failed", "cancelled")

Increment = tuple[str, float]
"""Field of the metrics' Redis hash, and what to add to it."""


def cell(family: Family, labels: tuple[str, ...], part: str) -> str:
    """Field of one number in the metrics' Redis hash; `part` is a bucket's index, `sum` or `value`."""
    if len(labels) != len(family.labels):
        raise ValueError(f"{family.name} got {len(labels)} labels, it has {family.labels}")
    return json.dumps([family.name, list(labels), part])


def parse_cell(field: str) -> tuple[str, tuple[str, ...], str]:
    """Family name, labels and part of a field made by `cell`."""
    name, labels, part = json.loads(field)
    return name, tuple(labels), part


def increment(family: Family, labels: tuple[str, ...], amount: float = 1) -> list[Increment]:
    """Add to a counter."""
    return [(cell(family, labels, "value"), amount)]


def observe(family: Family, labels: tuple[str, ...], value: float) -> list[Increment]:
    """Add an observation to a histogram; the bucket past the last bound is +Inf."""
    bucket = bisect_left(family.buckets, value)
    return [(cell(family, labels, str(bucket)), 1), (cell(family, labels, "sum"), value)]


def outcome(task: str, variant: str, status: str) -> list[Increment]:
    """Count a job that reached its last state."""
    return increment(JOBS, (task, variant, status))
