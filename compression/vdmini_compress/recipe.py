"""A recipe: one YAML file that says what to compress and how."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from vdmini.manifest import Record


class RecipeError(Exception):
    """A recipe that cannot be used; the message names the field and what is allowed."""


class Data(Record):
    """What the student learns from."""

    source: Literal["small-world"] = Field(description="where clips come from")
    clips: int = Field(ge=8, le=100_000, description="clips encoded once and drawn from")


class Distill(Record):
    """How the student is healed."""

    steps: int = Field(ge=0, le=10_000_000, description="optimizer steps")
    batch_size: int = Field(ge=1, le=4096, description="clips per batch")
    shards: int = Field(default=1, ge=1, le=64, description="batches per step, computed side by side, a thread each")
    learning_rate: float = Field(gt=0, le=1, description="peak of AdamW's learning rate")
    warmup: int = Field(default=20, ge=1, description="steps of linear warm-up")
    ema_decay: float = Field(default=0.98, ge=0, lt=1, description="decay per step of the weights that are kept")
    lambda_task: float = Field(default=1.0, ge=0, description="weight of the error against the right answer")
    lambda_output: float = Field(default=1.0, ge=0, description="weight of the distance to the teacher's output")
    lambda_icd: float = Field(default=0.1, ge=0, description="weight of individual content distillation")
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")


class Evaluate(Record):
    """How quality is measured."""

    clips: int = Field(ge=4, le=10_000, description="held-out clips, the same for teacher and student")
    seed: int = Field(default=0, ge=0, description="picks the clips and seeds the noise")


class LatencyRuns(Record):
    """How latency is measured."""

    runs: int = Field(ge=20, le=10_000, description="timed pairs of teacher and student")


class Recipe(Record):
    """The whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="name of the artifact")
    teacher: Path = Field(description="folder of the teacher, relative to the recipe")
    plan: str | tuple[str, ...] = Field(description="a preset, or the names of the blocks to remove")
    seed: int = Field(default=0, ge=0, description="of all randomness in training")
    data: Data
    distill: Distill
    evaluate: Evaluate
    latency: LatencyRuns


def load_recipe(path: Path, changes: list[str] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: the YAML file.
        changes: settings that replace the file's, as "distill.steps=500".

    Returns:
        The recipe, its teacher's path made absolute.

    Raises:
        RecipeError: naming the unknown, missing or wrong field.
    """
    values = _read(path)
    for change in changes or []:
        _apply(values, change)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from error
    return recipe.model_copy(update={"teacher": (path.parent / recipe.teacher).resolve()})


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{path} cannot be read ({error}); give a recipe such as compression/recipes/small-i2v.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no mapping; see compression/recipes/small-i2v.yaml")
    return values


def _apply(values: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    if not equals:
        raise RecipeError(f"{change!r} sets nothing; write it as distill.steps=500")
    *groups, field = name.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{change!r}: {group} has no fields of its own")
        values = inner
    values[field] = yaml.safe_load(value)


def _explain(error: ValidationError) -> str:
    return "; ".join(_explain_one(detail) for detail in error.errors())


def _explain_one(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return (
            f"{place}: {detail['msg']} (got {detail['input']!r})"
            if detail["type"] != "missing"
            else f"{place} is missing"
        )
    group: Any = Recipe
    for part in detail["loc"][:-1]:
        group = group.model_fields[part].annotation
    return f"{place} is unknown; here are {', '.join(group.model_fields)}"
