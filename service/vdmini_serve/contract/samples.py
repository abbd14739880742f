"""Engine timings of comparable work: what makes two runs comparable, and the baseline out of them.

Engine seconds are image or text encoding, denoising and decoding; queueing and the MP4 are the same for any model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

from vdmini_serve.contract.job import ENGINE_STAGES
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.request import JobSpec

KEPT_SAMPLES = 50
"""Newest timings kept of each kind of work: enough for a steady median, few enough to follow a change."""

KEY_PREFIX = "vdmini:samples:"


@dataclass(frozen=True)
class SampleKey:
    """Work that takes the same time on the same device.

    Args:
        task: i2v or t2v.
        model: name of the compressed model, or '' for the teacher itself.
        teacher: id of the uncompressed model.
        teacher_sha256: hash of its weights.
        device: name of the device and the precision.
        size: width x height x frames.
        steps: denoising steps.
        guidance: on or off; guidance can double the work.
    """

    task: str
    model: str
    teacher: str
    teacher_sha256: str
    device: str
    size: str
    steps: int
    guidance: str

    @property
    def of_teacher(self) -> "SampleKey":
        """The same work done by the uncompressed model."""
        return replace(self, model="")

    def encode(self) -> str:
        """Name of the Redis list."""
        return KEY_PREFIX + json.dumps(asdict(self))


def decode_key(text: str) -> SampleKey:
    """The key that `encode` made."""
    return SampleKey(**json.loads(text.removeprefix(KEY_PREFIX)))


def sample_key(descriptor: ModelDescriptor, spec: JobSpec, device: str) -> SampleKey:
    """The kind of work that a job is."""
    return SampleKey(
        task=spec.task,
        model="" if descriptor.variant == "teacher" else descriptor.name,
        teacher=descriptor.teacher.id,
        teacher_sha256=descriptor.teacher.sha256,
        device=device,
        size=spec.size,
        steps=spec.num_inference_steps,
        guidance="on" if spec.guidance_scale > 1 else "off",
    )


@dataclass(frozen=True)
class Timing:
    """Measured seconds.

    Args:
        seconds: median.
        samples: how many runs are behind it.
        measured_at: Unix time of the newest one.
    """

    seconds: float
    samples: int
    measured_at: float


def engine_seconds(stages: Mapping[str, float]) -> float:
    """The part of a job that compression can speed up."""
    return sum(stages[stage] for stage in ENGINE_STAGES)


def encode_sample(seconds: float, at: float) -> str:
    """One run as an entry of the Redis list."""
    return f"{seconds!r} {at!r}"


def timing(entries: Sequence[str]) -> Timing | None:
    """The median of a Redis list's entries; None when it is empty."""
    if not entries:
        return None
    pairs = [tuple(map(float, entry.split())) for entry in entries]
    return Timing(median(pair[0] for pair in pairs), len(pairs), max(pair[1] for pair in pairs))
