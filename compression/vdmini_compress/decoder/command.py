"""`vdmini-compress decoder`: an artifact with a smaller VAE decoder."""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from vdmini_compress.commands.numbers import LEAST_CLIPS, at_least
from vdmini_compress.commands.video_options import add_videos, videos_from

if TYPE_CHECKING:
    from vdmini.engine import Engine
    from vdmini.manifest import Manifest
    from vdmini_compress.decoder.films import FilmMaker
    from vdmini_compress.decoder.measure import DecoderMeasures
    from vdmini_compress.decoder.settings import DecoderSettings
    from vdmini_compress.videos.settings import Videos

NAME = "decoder"
HELP = "compress the VAE decoder of a teacher or a student: layers out, channels pruned, healed, measured"
EXAMPLES = """\
{prog} compression/artifacts/small-i2v --output runs/small-decoder --latency 0.3
{prog} teachers/svd --output runs/svd-decoder --videos videos --window 32
"""
RESUMES = True
"""Whether the same command goes on where it was stopped."""
HELD_OUT = 0.1
"""Share of the videos that a decoder is measured on and not healed on."""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; what isn't given is as `DecoderSettings` has it."""
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="a teacher or a student with a stock decoder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the artifact goes")
    parser.add_argument(
        "--latency", type=float, help="decode time to reach, as a share of the original's (default 0.3)"
    )
    parser.add_argument("--layers", nargs="*", metavar="NAME", help="layers to take out; chosen by default")
    parser.add_argument("--multiple", type=at_least(1), help="widths are multiples of it (default 16, 32 on a GPU)")
    parser.add_argument("--clips", type=at_least(LEAST_CLIPS), help="clips to heal on (default 400)")
    parser.add_argument("--held-out", type=at_least(LEAST_CLIPS), help="held-out clips to measure on (default 32)")
    parser.add_argument("--steps", type=at_least(0), help="steps of healing (default 1500)")
    parser.add_argument(
        "--perceptual", type=Path, metavar="FILE", help="VGG16 or LPIPS weights; else the VAE's encoder"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="of all randomness (default 0)")
    parser.add_argument("--json", action="store_true", help="print the measurements on standard output")
    videos = add_videos(
        parser,
        "Heal and measure on videos of your own, for any model; a tenth of them is held out to measure on. Without "
        "--videos, clips of the small world are taken, which only small models can make.",
    )
    videos.add_argument(
        "--window", type=at_least(8), help="latents of a picture's part that a training clip shows (default: all)"
    )
    videos.add_argument(
        "--frames", type=at_least(3), help="of a training clip (default: as many as are decoded at once)"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry it out."""
    from vdmini.artifact import refuse_foreign
    from vdmini.engine import load_engine
    from vdmini_compress.decoder.job import DecoderJob

    settings, output = settings_from(arguments), arguments.output.absolute()
    videos = videos_from(arguments, "window", "frames", held_out=HELD_OUT)
    refuse_foreign(output)
    engine, work = load_engine(arguments.artifact, dtype="float32"), output.with_name(output.name + ".work")
    job = DecoderJob(
        engine,
        settings,
        work,
        seed=arguments.seed,
        say=lambda line: console.print(line, markup=False),
        maker=None if videos is None else film_maker(engine, videos, settings, work),
    )
    vae, measures = job.run()
    save(engine, arguments.artifact, vae, measures, settings, output)
    shutil.rmtree(work)
    if arguments.json:
        sys.stdout.write(measures.model_dump_json(indent=2) + "\n")
    console.print(_table(measures))
    console.print(f"saved {arguments.output}; vdmini-compress evaluate measures whole clips")
    return 0


def film_maker(engine: "Engine", videos: "Videos", settings: "DecoderSettings", work: Path) -> "FilmMaker":
    """What films windows of videos for a model, in the form of the model's own clips."""
    from vdmini_compress.decoder.video_films import VideoFilms
    from vdmini_compress.videos.world import video_world

    manifest = engine.manifest
    world = video_world(manifest.task, videos, manifest.defaults, work / "encoded")
    return VideoFilms(world, settings.window, settings.frames)


def settings_from(arguments: argparse.Namespace) -> "DecoderSettings":
    """The settings that the command line asks for.

    Raises:
        ValueError: naming the argument that is out of range.
    """
    from pydantic import ValidationError

    from vdmini_compress.decoder.settings import DecoderSettings

    given = {name: getattr(arguments, name) for name in DecoderSettings.model_fields if hasattr(arguments, name)}
    try:
        return DecoderSettings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"--{wrong['loc'][0]}: {wrong['msg']} (got {wrong['input']!r})") from error


def save(
    engine: "Engine",
    artifact: Path,
    vae: Any,
    measures: "DecoderMeasures",
    settings: "DecoderSettings",
    output: Path,
) -> "Manifest":
    """Write an artifact that differs from another one in its decoder.

    What was measured on whole clips is left out of its manifest: it was measured with the original decoder.

    Args:
        engine: the artifact with the original decoder; its modules are float16 afterwards.
        artifact: its folder.
        vae: the compressed VAE.
        measures: what was measured on it.
        settings: how it was made.
        output: where to write.

    Returns:
        The manifest of what was written.
    """
    from vdmini.artifact import replacing, write_manifest
    from vdmini.engine import Engine
    from vdmini.weights import save_pipeline
    from vdmini_compress.decoder.job import MEASURES
    from vdmini_compress.pruning import cost_of, teacher_id

    old = engine.manifest
    pipeline = type(engine.pipeline)(**{**engine.pipeline.components, "vae": vae})
    made = Engine(old, engine.family, pipeline, device=engine.torch_device, dtype=engine.torch_dtype)
    record = {"seconds": measures.heal_seconds, "finished": time.strftime("%Y-%m-%d")}
    record |= settings.model_dump(mode="json", exclude={"perceptual"})
    with replacing(output) as folder:
        save_pipeline(pipeline, folder)
        (folder / MEASURES).write_text(measures.model_dump_json(indent=2) + "\n")
        changes = {
            "variant": "vdmini",
            "teacher": teacher_id(artifact, old) if old.variant == "teacher" else old.teacher,
            "cost": cost_of(made, folder),
            "training": old.training | {"vae_decoder": record},
            "latency": (),
            "quality": {},
        }
        return write_manifest(folder, old.model_copy(update=changes))


def _table(measures: "DecoderMeasures") -> Table:
    low, high = measures.share_interval
    table = Table(title=f"decoder: {measures.runs} runs in turn on {measures.device}, {measures.dtype}")
    for heading in ("", "original", "vdmini"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("decode (ms)", *(f"{1000 * seconds:.1f}" for seconds in measures.seconds.values()))
    table.add_row("share of the time", "1", f"{measures.share:.3f} ({low:.3f} to {high:.3f})")
    table.add_row("parameters", *(f"{count:,}" for count in measures.parameters.values()))
    for kind, quality in measures.quality.items():
        table.add_row(f"PSNR, {kind} (dB)", *(f"{value:.2f}" for value in quality.psnr_db.values()))
        table.add_row(f"change error, {kind}", *(f"{value:.4f}" for value in quality.change_error.values()))
    return table
