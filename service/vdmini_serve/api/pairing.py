"""Whether two jobs' clips can be compared: same input, same settings, same seed, a model and the teacher it is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from vdmini_serve.api.content import name_of
from vdmini_serve.contract.comparison import Comparison, comparison_id
from vdmini_serve.contract.job import Job, decode_job, decode_spec, owner_of
from vdmini_serve.contract.model import ModelDescriptor
from vdmini_serve.contract.problem import ProblemError, ProblemKind
from vdmini_serve.contract.request import JobSpec

MADE_BY = frozenset({"model", "variant"})
"""What may differ between the two."""


@dataclass(frozen=True)
class Candidate:
    """A job that may become one half of a comparison.

    Args:
        job: it.
        spec: what was asked for.
        image_sha256: hash of its picture; None without one.
        owner: whose it is.
    """

    job: Job
    spec: JobSpec
    image_sha256: str | None
    owner: str


@dataclass(frozen=True)
class Pair:
    """Two jobs that can be compared.

    Args:
        comparison: what is told of it.
        student: job of the compressed model.
        teacher: job of the uncompressed one.
        owner: whose they are.
    """

    comparison: Comparison
    student: Job
    teacher: Job
    owner: str


def candidate_of(fields: dict[str, str]) -> Candidate:
    """A job's Redis hash as a candidate."""
    return Candidate(decode_job(fields), decode_spec(fields), fields.get("image_sha256"), owner_of(fields))


def pair_of(one: Candidate, other: Candidate, models: Mapping[str, ModelDescriptor]) -> Pair:
    """The comparison of two jobs.

    Raises:
        ProblemError: when they are no pair, or not finished.
    """
    for each in (one, other):
        name_of(each.job)  # a problem unless it succeeded
    by_variant = {each.job.variant: each for each in (one, other)}
    if set(by_variant) != {"vdmini", "teacher"}:
        _refuse(f"both clips were made by a {one.job.variant}; one of each is needed")
    _check_equal(one, other)
    student, teacher = by_variant["vdmini"].job, by_variant["teacher"].job
    _check_related(student.model, teacher.model, models)
    comparison = Comparison(
        id=comparison_id(student.id, teacher.id),
        task=student.task,
        model=student.model,
        teacher=teacher.model,
        votes=0,
        expires_at=min(student.expires_at or 0.0, teacher.expires_at or 0.0),
    )
    return Pair(comparison, student, teacher, one.owner)


def _check_equal(one: Candidate, other: Candidate) -> None:
    if one.owner != other.owner:
        _refuse("the two jobs belong to different API keys")
    mine, others = one.spec.model_dump(exclude=set(MADE_BY)), other.spec.model_dump(exclude=set(MADE_BY))
    different = [name for name, value in mine.items() if others[name] != value]
    if different:
        _refuse(f"the two jobs differ in {', '.join(different)}; only the model may differ")
    if one.spec.task == "i2v" and (one.image_sha256 is None or one.image_sha256 != other.image_sha256):
        _refuse("the two jobs were given different pictures")


def _check_related(student: str, teacher: str, models: Mapping[str, ModelDescriptor]) -> None:
    missing = [name for name in (student, teacher) if name not in models]
    if missing:
        _refuse(f"{', '.join(missing)} is no longer loaded, so it is not known what it was made from")
    if models[student].teacher.sha256 != models[teacher].teacher.sha256:
        _refuse(f"{student} was not made from {teacher}")


def _refuse(reason: str) -> NoReturn:
    detail = f"{reason}; send the same request twice, with the same seed, as `vdmini` and as `teacher`"
    raise ProblemError(ProblemKind.NOT_COMPARABLE, detail)
