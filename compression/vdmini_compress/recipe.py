"""A recipe: one YAML file that says what to compress and how."""

from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from vdmini.manifest import Record
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.videos.settings import Videos

LEAST_COMPARED = 6
"""Clips from which a covariance of five motion statistics has its full rank; see `suites.video_yardstick`."""


class RecipeError(Exception):
    """A recipe that cannot be used; the message names the field and what is allowed."""


class Data(Record):
    """What the student learns from."""

    source: Literal["small-world", "videos"] = Field(description="where clips come from")
    clips: int = Field(ge=8, le=10_000_000, description="clips encoded once and drawn from")
    videos: Videos | None = Field(default=None, description="with source videos: which ones")

    @model_validator(mode="after")
    def _videos_are_given_when_asked_for(self) -> "Data":
        if (self.source == "videos") != (self.videos is not None):
            raise ValueError(f"source {self.source} and the section videos don't go together; give both or neither")
        return self


class Distill(Record):
    """How the student is healed."""

    steps: int = Field(ge=0, le=10_000_000, description="optimizer steps")
    batch_size: int = Field(ge=1, le=4096, description="clips per batch")
    shards: int = Field(default=1, ge=1, le=64, description="batches per step, computed side by side, a thread each")
    learning_rate: float = Field(gt=0, le=1, description="peak learning rate of the student")
    warmup: int = Field(default=20, ge=1, description="steps of linear warm-up")
    ema_decay: float = Field(default=0.98, ge=0, lt=1, description="decay per step of the weights that are kept")
    optimizer: Literal["adamw", "adamw-8bit"] = Field(default="adamw", description="adamw-8bit needs bitsandbytes")
    sharding: Literal["none", "full"] = Field(
        default="none",
        description="full: several processes share the student's weights, gradients, averages and optimizer state, a "
        "slice each (FSDP), and shards are computed in turn; with one process it changes nothing",
    )
    gradient_checkpointing: bool = Field(default=False, description="recompute activations: less memory, more time")
    task_loss: Literal["squared", "pseudo-huber", "consistency"] = Field(
        default="squared",
        description="the base model's own loss: against the right answer, squared or pseudo-Huber (SF-V); or of the "
        "student with itself one solver step further down (T2V-Turbo-v2, consistency models only)",
    )
    sigmas: tuple[float, ...] = Field(
        default=(700.0,),
        min_length=1,
        description="image-to-video: noise levels that are trained on; SF-V's are 2.27, 70.5, 700",
    )
    timesteps: int = Field(
        default=200,
        ge=1,
        le=1000,
        description="text-to-video: trained on so many noise levels, those of sampling in so many steps",
    )
    from_noise: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="text to video: share of the clips that are noised to the highest of these levels, where sampling "
        "starts; the others get any of them; the family's own share by default",
    )
    lambda_task: float = Field(default=1.0, ge=0, description="weight of the task loss")
    lambda_output: float = Field(default=1.0, ge=0, description="weight of the distance to the teacher's output")
    lambda_icd: float = Field(default=0.1, ge=0, description="weight of individual content distillation")
    lambda_mca: float = Field(default=0.0, ge=0, description="weight of the multi-frame content adversarial loss")
    lambda_r1: float = Field(default=0.0, ge=0, description="weight of the discriminator's gradient penalty")
    real: Literal["teacher", "data"] = Field(
        default="teacher",
        description="what the discriminator takes for real: the teacher's answers, or the data (SF-V)",
    )
    discriminator_learning_rate: float = Field(default=1e-4, gt=0, le=1, description="peak learning rate of its heads")
    encoder: Path | None = Field(
        default=None,
        description="folder of the model whose encoder the discriminator sees through, relative to the recipe; the "
        "teacher by default",
    )
    watch_every: int = Field(default=0, ge=0, description="steps between sample clips and guards; 0 makes none")
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")

    @model_validator(mode="after")
    def _the_optimizer_can_be_sharded(self) -> "Distill":
        if (self.sharding, self.optimizer) == ("full", "adamw-8bit"):
            raise ValueError(
                "sharding full and optimizer adamw-8bit don't go together: its state is quantized in blocks, which "
                "slices would cut; give optimizer adamw, which sharding makes small too"
            )
        return self


class Evaluate(Record):
    """How quality is measured."""

    suite: Literal["small-world", "videos"] = Field(
        default="small-world",
        description="on what: the small world, which has right answers; or held-out films of data.videos, of which "
        "statistics alone can be compared",
    )
    clips: int = Field(ge=4, le=10_000, description="held-out clips, the same for teacher and student")
    seed: int = Field(default=0, ge=0, description="picks the clips and seeds the noise")


class LatencyRuns(Record):
    """How latency is measured."""

    runs: int = Field(ge=20, le=10_000, description="timed pairs of teacher and student")


class Recipe(Record):
    """The whole recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="name of the artifact")
    teacher: Path = Field(description="folder of the teacher, relative to the recipe")
    family: str | None = Field(
        default=None,
        description="of the teacher: lets `plan` tell what a recipe costs before the teacher's folder is there, and "
        "refuses a folder of another family",
    )
    plan: str | tuple[str, ...] = Field(
        description="a preset, the names of the blocks to remove, or a budget such as latency=0.6"
    )
    importance: Path | None = Field(
        default=None,
        description="importance.json of the teacher, relative to the recipe: for a budget, and for the report",
    )
    seed: int = Field(default=0, ge=0, description="of all randomness in training")
    data: Data
    distill: Distill
    decoder: DecoderSettings | None = Field(
        default=None, description="how the VAE's decoder is compressed; as it is else"
    )
    evaluate: Evaluate
    latency: LatencyRuns

    @model_validator(mode="after")
    def _quality_is_measured_on_what_is_there(self) -> "Recipe":
        wanted, videos = self.evaluate, self.data.videos
        if wanted.suite == "videos" and (videos is None or not videos.held_out):
            raise ValueError("evaluate.suite videos needs data.source videos and data.videos.held_out above 0")
        if wanted.suite == "videos" and wanted.clips < LEAST_COMPARED:
            raise ValueError(f"evaluate.suite videos needs at least {LEAST_COMPARED} clips for its statistics")
        return self


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
    return _resolved(recipe, path.parent)


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with absolute folders."""
    distill, data = recipe.distill, recipe.data
    if data.videos:
        captions = data.videos.captions and (base / data.videos.captions).resolve()
        places = {"path": (base / data.videos.path).resolve(), "captions": captions}
        data = data.model_copy(update={"videos": data.videos.model_copy(update=places)})
    if distill.encoder:
        distill = distill.model_copy(update={"encoder": (base / distill.encoder).resolve()})
    decoder = recipe.decoder
    if decoder:
        given = {name: getattr(decoder, name) for name in ("perceptual", "taken_from")}
        found = {name: (base / path).resolve() for name, path in given.items() if path}
        decoder = decoder.model_copy(update=found)
    importance = recipe.importance and (base / recipe.importance).resolve()
    places = {"teacher": (base / recipe.teacher).resolve(), "importance": importance}
    return recipe.model_copy(update=places | {"data": data, "distill": distill, "decoder": decoder})


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
        annotation = group.model_fields[part].annotation
        group = next((inner for inner in get_args(annotation) if inner is not type(None)), annotation)
    return f"{place} is unknown; here are {', '.join(group.model_fields)}"
