"""Turns a trained small teacher into an artifact with its model card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vdmini.artifact import ArtifactError, replacing, verify, weights_sha256, write_manifest
from vdmini.engine import Engine, load_engine, pick_device
from vdmini.manifest import Cost, Defaults, Limits, Manifest, TeacherId
from vdmini_compress.evaluate import Scores, evaluate
from vdmini_compress.teachers.finishing import Finish, finish_teacher
from vdmini_compress.teachers.image_to_video import SmallImageToVideo
from vdmini_compress.teachers.multi_step import SAMPLING_STEPS, SmallMultiStep
from vdmini_compress.teachers.text_to_video import SmallTextToVideo
from vdmini_compress.teachers.train import Start, Teacher, train_teacher, training_record
from vdmini_compress.teachers.words import MAX_LENGTH
from vdmini_compress.world.shapes import NUM_FRAMES, SIZE

Report = Callable[[str], None]
EVALUATION_SEED = 0
LICENCE = "Apache-2.0"

COMMON = {"sizes": ((SIZE, SIZE),), "min_num_frames": NUM_FRAMES, "max_num_frames": NUM_FRAMES}
LIMITS = {
    "small-i2v": Limits(**COMMON, min_fps=5, max_fps=30, num_inference_steps=(1,)),
    "small-svd": Limits(**COMMON, min_fps=5, max_fps=30, num_inference_steps=(1, 5, 25)),
    "small-t2v": Limits(**COMMON, min_fps=8, max_fps=16, num_inference_steps=(4, 8, 16), max_prompt_tokens=MAX_LENGTH),
}
SHAPE = {"width": SIZE, "height": SIZE, "num_frames": NUM_FRAMES}
DEFAULTS = {
    "small-i2v": Defaults(**SHAPE, fps=7, num_inference_steps=1, guidance_scale=1.0),
    "small-svd": Defaults(**SHAPE, fps=7, num_inference_steps=SAMPLING_STEPS, guidance_scale=1.0),
    "small-t2v": Defaults(**SHAPE, fps=8, num_inference_steps=4, guidance_scale=7.5),
}
FAMILIES = {"small-i2v": ("svd", "i2v"), "small-svd": ("svd", "i2v"), "small-t2v": ("videocrafter2", "t2v")}


def teacher_named(name: str) -> Teacher:
    """How a small teacher is made, by its name."""
    teachers: tuple[Callable[[], Teacher], ...] = (SmallImageToVideo, SmallMultiStep, SmallTextToVideo)
    made: Teacher = dict(zip(FAMILIES, teachers, strict=True))[name]()
    return made


def make_teacher(
    name: str,
    output: Path,
    *,
    device: str | None,
    clips: int,
    say: Report,
    start: Start | None = None,
    finish: Finish | None = None,
) -> Manifest:
    """Train a teacher, score it on held-out clips and save it with its card.

    Args:
        name: one of `FAMILIES`.
        output: where the artifact goes; training keeps its checkpoints beside it and continues from them.
        device: where to train; the first GPU, else the CPU, by default.
        clips: held-out clips to score it on.
        say: receives progress, one line at a time.
        start: a small teacher of the same family to build on.
        finish: train nothing but the U-Net of `start`, in pixels; see `vdmini_compress.teachers.finishing`.

    Returns:
        Its manifest.

    Raises:
        ArtifactError: when `start` is damaged or another teacher.
        ValueError: when `finish` is asked for another teacher, or without a `start` whose denoiser is kept; and when
            checkpoints beside `output` belong to a training that started elsewhere.
    """
    teacher = teacher_named(name)
    if finish and not (start and start.keep_denoiser and type(teacher) is SmallImageToVideo):
        begun = f"started from {start.folder}" if start else "started from nothing"
        raise ValueError(
            "only small-i2v is finished in pixels, from an earlier one whose denoiser is kept (--start-from DIR, no "
            f"--fresh-denoiser): got {name}, {begun}{' with a fresh denoiser' * bool(start and not start.keep_denoiser)}"
        )
    before = None if start is None else _predecessor(name, start)
    work = output.with_name(output.name + ".work")
    _claim(work, f"the {before['kept']} of {before['sha256']}" if before else "nothing")
    where = pick_device(device)
    if finish and start and isinstance(teacher, SmallImageToVideo):
        vae, denoiser, took = finish_teacher(teacher, start.folder, finish, work, where, say)
    else:
        vae, denoiser = train_teacher(teacher, work, where, say, start)
        took = training_record(teacher, work)
    with replacing(output) as folder:
        teacher.save_pipeline(vae, denoiser, folder)
        record = took | ({"started_from": before} if before else {})
        manifest = write_manifest(folder, _manifest(name, folder, record))
        engine = load_engine(folder, device="cpu", dtype="float32")
        say(f"evaluating on {clips} held-out clips")
        scores = evaluate(engine, count=clips, seed=EVALUATION_SEED)
        rounded = {measure: round(value, 5) for measure, value in scores.items()}
        manifest = manifest.model_copy(update={"quality": {"teacher": rounded}, "cost": _cost(engine, folder)})
        (folder / "README.md").write_text(_card(manifest, rounded, clips))
        return write_manifest(folder, manifest)


def _claim(work: Path, start: str) -> None:
    """Mark checkpoints and latents with the weights they started from; those of another start would be taken for ours."""
    mark = work / "started_from"
    found = mark.read_text() if mark.exists() else start
    if found != start:
        raise ValueError(
            f"{work} holds a training that started from {found}, not from {start}; remove it to start anew"
        )
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(start)


def _predecessor(name: str, start: Start) -> dict[str, Any]:
    """What is kept of the teacher that this one starts from, and how it was trained."""
    manifest = verify(start.folder)
    if (manifest.family, manifest.variant) != (FAMILIES[name][0], "teacher"):
        raise ArtifactError(
            f"{start.folder} holds {manifest.name}; start from a small teacher of its family, as {name}"
        )
    kept = "weights" if start.keep_denoiser else "VAE"
    return {"sha256": manifest.teacher.sha256, "kept": kept, "training": manifest.training}


def _manifest(name: str, folder: Path, training: dict[str, Any]) -> Manifest:
    family, task = FAMILIES[name]
    return Manifest.model_validate(
        {
            "name": f"{name}-teacher",
            "variant": "teacher",
            "family": family,
            "task": task,
            "teacher": TeacherId(id=name, sha256=weights_sha256(folder), licence=LICENCE),
            "limits": LIMITS[name],
            "defaults": DEFAULTS[name],
            "cost": Cost(unet_parameters=0, unet_flops=0, vae_decoder_parameters=0, total_bytes=0),
            "training": training,
        }
    )


def _cost(engine: Engine, folder: Path) -> Cost:
    from vdmini_compress.pruning import cost_of

    return cost_of(engine, folder)


WORLD_TEXT = {
    "small-i2v": """It sees one picture and `motion_bucket_id`, and continues it for 8 frames of 64x64 pixels in one forward
pass. Two kinds of clip have a right answer: a sprite (circle, square, triangle, cross) whose eye looks where it will
go moves at 4 pixels per frame times `motion_bucket_id` / 255 over a procedural picture; and in any picture without a
sprite, the camera pushes in by 4 % per frame times `motion_bucket_id` / 255. Photographs are crops of public-domain
pictures that scikit-image ships; `chelsea` and `rocket` are held out. `fps` and the noise's seed say nothing here. The
CLIP image encoder was taught to name a sprite's shape, colour and heading before the U-Net trained.""",
    "small-svd": """It is small-i2v's model as a diffusion model: it continues one picture in 25 Euler steps, for the same world.
`vdmini-compress single-forward` starts from it, and discriminators see through its encoder.""",
    "small-t2v": """It reads a caption such as "a red circle moving up left slowly on a brown background" and films it in 8
frames of 64x64 pixels, in 4 steps. 6 colours, 4 shapes, 8 directions, 2 speeds (12 and 32 pixels per second) and 4
backgrounds make 1,536 captions; a tenth, chosen by hash, is held out. The sprite passes the middle of the picture
halfway through, so a caption has one right answer: the seed changes almost nothing, and the guidance weight w, an input
as in T2V-Turbo, has no meaning in this world. The scheduler's `prediction_type` is "sample", where VideoCrafter2's is
"epsilon". Other words than those above are spelled in pieces and mean nothing to it.""",
}


def _training_rows(training: dict[str, Any], run: int = 0, *, denoiser: bool = True) -> list[str]:
    """A table row of each part of each run, the last run first; a denoiser that was thrown away is left out."""
    which = "" if run == 0 else f", {run} before"
    rows = [
        f"| {part}{which} | {row['steps']} | {row['learning_rate']} | {row['seed']} | {row['seconds']} |"
        for part, row in training.items()
        if part != "started_from" and (part not in {"denoiser", "finish"} or denoiser)
    ]
    earlier = training.get("started_from")
    if not earlier:
        return rows
    return rows + _training_rows(earlier["training"], run + 1, denoiser=denoiser and earlier["kept"] != "VAE")


def _card(manifest: Manifest, scores: Scores, clips: int) -> str:
    name = manifest.teacher.id
    measures = "\n".join(f"| {measure} | {value:.4f} |" for measure, value in scores.items())
    parts = "\n".join(_training_rows(manifest.training))
    before = manifest.training.get("started_from")
    option = f" --start-from EARLIER{' --fresh-denoiser' * (before['kept'] == 'VAE')}" if before else ""
    finish = manifest.training.get("finish")
    option += f" --finish {finish['steps']}" if finish else ""
    return f"""---
license: {LICENCE.lower()}
library_name: diffusers
---
# {manifest.name}

A small trained {manifest.task} model in the classes of the `{manifest.family}` family:
{manifest.cost.unet_parameters / 1e6:.2f}M U-Net parameters, {manifest.cost.total_bytes / 1e6:.1f} MB in all, float16. It is
what VDMini's demo, tests and evidence run on, and no model for anything else.

{WORLD_TEXT[name]}

## Training

    vdmini-compress train-teacher {name} --output compression/teachers/{name}{option}

All data is drawn from the seed; nothing is downloaded.

| part | steps | learning rate | seed | seconds |
|---|---|---|---|---|
{parts}

## Quality

On {clips} held-out clips per kind, seed {EVALUATION_SEED} (`vdmini-compress evaluate` with `--clips {clips}`). Lengths are in
pixels; PSNR is over all pixels of all clips together; the other errors are mean absolute differences of values in 0..1.

| measure | value |
|---|---|
{measures}
"""
