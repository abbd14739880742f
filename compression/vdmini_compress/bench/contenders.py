"""Who is compared: plain diffusers, our engine with the teacher, and our engine with the student."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vdmini.artifact import read_manifest
from vdmini.cost import unet_cost, vae_decoder_cost
from vdmini.engine import Engine, load_engine
from vdmini.switches import RuntimeSettings
from vdmini_compress.pruning import with_vae

STOCK, TEACHER, STUDENT, STUDENT_UNET = "stock", "teacher", "vdmini", "vdmini, teacher's decoder"


@dataclass(frozen=True)
class Contender:
    """One way to make the same clip.

    Args:
        name: `STOCK`, `TEACHER`, `STUDENT` or `STUDENT_UNET`.
        engine: what makes it.
        flops: floating-point operations (2 per multiply-add) of one pass of the U-Net on one clip ("denoise") and of
            decoding one ("decode").
    """

    name: str
    engine: Engine
    flops: Mapping[str, int]


def contenders(
    teacher: Path, student: Path, runtime: RuntimeSettings, *, device: str | None = None, dtype: str | None = None
) -> list[Contender]:
    """Load everything that is compared.

    Args:
        teacher: artifact of the teacher.
        student: artifact of the student.
        runtime: our engine's switches.
        device: see `load_engine`.
        dtype: see `load_engine`; the same for all.

    Returns:
        Plain diffusers with the teacher; our engine with the teacher; with the student; and, where the student has a
        decoder of its own, with the student's U-Net and the teacher's decoder.

    Raises:
        ValueError: when the two are no pair.
    """
    _refuse_strangers(teacher, student)

    def load(folder: Path) -> Engine:
        return load_engine(folder, device=device, dtype=dtype)

    engines = {STOCK: load(teacher), TEACHER: load(teacher), STUDENT: load(student)}
    if type(engines[STUDENT].pipeline.vae) is not type(engines[TEACHER].pipeline.vae):
        engines[STUDENT_UNET] = with_vae(load(student), load(teacher).pipeline.vae)
    return tuned(engines, runtime)


def _refuse_strangers(teacher: Path, student: Path) -> None:
    first, second = read_manifest(teacher), read_manifest(student)
    if first.variant != "teacher" or second.variant != "vdmini":
        raise ValueError(
            f"{teacher} is a {first.variant} and {student} a {second.variant}; give a teacher and a student"
        )
    if first.teacher.sha256 != second.teacher.sha256:
        raise ValueError(f"{student} was made from {second.teacher.id}, not from {first.name}; give its own teacher")


def tuned(engines: Mapping[str, Engine], runtime: RuntimeSettings) -> list[Contender]:
    """Give all but plain diffusers our runtime; operations are counted before, on the plain modules."""
    found = []
    for name, engine in engines.items():
        flops = flops_of(engine)
        if name != STOCK:
            engine.tune(runtime)
        found.append(Contender(name, engine, flops))
    return found


def flops_of(engine: Engine, **sizes: int) -> dict[str, int]:
    """Operations of one pass of the U-Net ("denoise") and of the decoder ("decode"), on one clip.

    Args:
        engine: not tuned yet.
        sizes: num_frames, height or width (pixels), where they aren't the model's own.
    """
    wanted = engine.manifest.defaults.model_dump() | sizes
    scale = 2 ** (len(engine.pipeline.vae.config.block_out_channels) - 1)
    latents = {
        "num_frames": wanted["num_frames"],
        "height": wanted["height"] // scale,
        "width": wanted["width"] // scale,
    }
    return {
        "denoise": unet_cost(engine.pipeline.unet, **latents).flops,
        "decode": vae_decoder_cost(engine.pipeline.vae, **latents).flops,
    }
