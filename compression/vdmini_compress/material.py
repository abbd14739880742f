"""What a job works on: the small world, which has right answers, or somebody's videos, which have none.

It says where training clips, samples, quality and the decoder's clips come from, so that a job needn't know.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch

from vdmini.engine import Engine
from vdmini_compress.data import WORLDS, Cache, World
from vdmini_compress.decoder.films import FilmMaker, SmallWorldFilms
from vdmini_compress.decoder.settings import DecoderSettings
from vdmini_compress.decoder.video_films import VideoFilms
from vdmini_compress.evaluate import Scores, evaluate, held_out_scenes, refuse_other_sizes, to_picture
from vdmini_compress.recipe import Recipe
from vdmini_compress.suites.comparison import Instruments
from vdmini_compress.suites.features import LatentFrames
from vdmini_compress.suites.real_videos import FilmClips
from vdmini_compress.suites.video_yardstick import MAX_ENLARGEMENT, video_yardstick
from vdmini_compress.videos.films import Film
from vdmini_compress.videos.settings import ClipForm
from vdmini_compress.videos.world import VideoWorld, video_world
from vdmini_compress.world import clips
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS

Report = Callable[[str], None]
Conditions = dict[str, Any]
"""What a clip is generated from, as arguments of `Engine.generate`; defaults fill the rest."""


class Material(Protocol):
    """What one job works on."""

    @property
    def world(self) -> World:
        """Training clips and batches of them."""
        ...

    def refuse(self, teacher: Engine, recipe: Recipe) -> None:
        """Raise `ValueError`, before any work, for what would only fail after hours of it."""
        ...

    def encoded(self, teacher: Engine, recipe: Recipe, say: Report) -> Cache | None:
        """Training clips that keep themselves on disk; None where the job must keep them."""
        ...

    def inputs(self, engine: Engine, count: int) -> list[Conditions]:
        """So many held-out inputs, to sample, to time and to show."""
        ...

    def scores(self, teacher: Engine, student: Engine, recipe: Recipe, say: Report) -> dict[str, Scores]:
        """Quality of "teacher" and "vdmini" on held-out clips."""
        ...

    def films(self, recipe: Recipe) -> FilmMaker:
        """What the decoder is healed and measured on."""
        ...


def material_of(recipe: Recipe, teacher: Engine, folder: Path) -> Material:
    """The material that a recipe asks for.

    Args:
        recipe: what is done.
        teacher: its teacher.
        folder: where encoded videos are kept.
    """
    videos, manifest = recipe.data.videos, teacher.manifest
    if videos is None:
        return SmallWorld(WORLDS[manifest.task])
    return RealVideos(video_world(manifest.task, videos, manifest.defaults, folder))


class SmallWorld:
    """The small world; see `Material`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def refuse(self, teacher: Engine, recipe: Recipe) -> None:  # noqa: ARG002 - the protocol's signature
        """A model that can't make a clip of the small world."""
        refuse_other_sizes(teacher)

    def encoded(self, teacher: Engine, recipe: Recipe, say: Report) -> Cache | None:  # noqa: ARG002
        """Nothing is kept."""
        return None

    def inputs(self, engine: Engine, count: int) -> list[Conditions]:
        """See `sample_inputs`."""
        return sample_inputs(engine, count)

    def scores(self, teacher: Engine, student: Engine, recipe: Recipe, say: Report) -> dict[str, Scores]:
        """See `vdmini_compress.evaluate`."""
        wanted, scores = recipe.evaluate, {}
        for name, engine in (("teacher", teacher), ("vdmini", student)):
            say(f"evaluate: {name} on {wanted.clips} held-out clips")
            scores[name] = evaluate(engine, count=wanted.clips, seed=wanted.seed)
        return scores

    def films(self, recipe: Recipe) -> FilmMaker:  # noqa: ARG002
        """Of the small world."""
        return SmallWorldFilms()


class RealVideos:
    """Somebody's videos, some of them held out; see `Material`."""

    def __init__(self, world: VideoWorld) -> None:
        self.videos = world

    @property
    def world(self) -> World:
        """The videos that are not held out."""
        return self.videos

    def refuse(self, teacher: Engine, recipe: Recipe) -> None:
        """Videos that give no held-out clips where those are needed."""
        wanted = recipe.evaluate
        if wanted.suite == "small-world":
            refuse_other_sizes(teacher)
        elif len(self.videos.held_out().films) < wanted.clips:
            raise ValueError(
                f"evaluate.clips {wanted.clips} are more than the {len(self.videos.held_out().films)} held-out films; "
                "ask for fewer, or raise data.videos.held_out"
            )
        if recipe.decoder:
            self.films(recipe).refuse(teacher)

    def encoded(self, teacher: Engine, recipe: Recipe, say: Report) -> Cache | None:
        """Shards that are resumed one by one and stay on disk: 100,000 clips of full size take 60 GB."""
        wanted = recipe.data.clips
        return self.videos.cache(teacher.pipeline, wanted, recipe.seed, say).columns(wanted)

    def inputs(self, engine: Engine, count: int) -> list[Conditions]:
        """First frames or captions of held-out films; the small world's where none is held out."""
        if not self.videos.videos.held_out:
            return sample_inputs(engine, count)
        films = self.videos.held_out().films
        reader = FilmClips(films, _form(engine))
        tried = (self._condition(engine, reader, index) for index in range(len(films)))
        given = list(islice((condition for condition in tried if condition is not None), count))
        if not given:
            raise ValueError(f"no held-out film can be shown: {reader.skipped.report()}")
        return given

    def _condition(self, engine: Engine, reader: FilmClips, index: int) -> Conditions | None:
        film: Film = reader.films[index]
        if engine.manifest.task == "t2v":
            return {"prompt": film.caption}
        clip_F3HW = reader.clip(index)
        return None if clip_F3HW is None else {"image": to_picture(clip_F3HW[0])}

    def scores(self, teacher: Engine, student: Engine, recipe: Recipe, say: Report) -> dict[str, Scores]:
        """Fréchet distances to held-out films; see `vdmini_compress.suites.video_yardstick`."""
        wanted = recipe.evaluate
        if wanted.suite == "small-world":
            return SmallWorld(self.videos.small).scores(teacher, student, recipe, say)
        yardstick = video_yardstick(
            teacher,
            self.videos.held_out(),
            data=self.videos.videos.path.name,
            instruments=Instruments(None, LatentFrames(teacher)),
            clips=wanted.clips,
            seed=wanted.seed,
            say=lambda line: say(f"evaluate: {line}"),
        )
        scores = {}
        for name, engine in (("teacher", teacher), ("vdmini", student)):
            say(f"evaluate: {name} on {wanted.clips} held-out clips")
            reading = replace(yardstick, engine=engine).read()
            scores[name] = {yardstick.content.name: reading.content, yardstick.motion.name: reading.motion}
        return scores

    def films(self, recipe: Recipe) -> FilmMaker:
        """Windows of the videos."""
        wanted = recipe.decoder or DecoderSettings()
        return VideoFilms(self.videos, wanted.window, wanted.frames)


def sample_inputs(engine: Engine, count: int) -> list[Conditions]:
    """Held-out inputs of the small world, to time and to show."""
    if engine.manifest.task == "t2v":
        return [{"prompt": scene.caption} for scene in held_out_scenes(count, 0)]
    generator = torch.Generator().manual_seed(1)
    frames = clips.image_clips(count, 0, generator, photos=HELD_OUT_PHOTOS).frames_BF3HW
    return [{"image": to_picture(clip[0]), "motion_bucket_id": 200} for clip in frames]


def sample_input(engine: Engine) -> Conditions:
    """One held-out input, see `sample_inputs`."""
    return sample_inputs(engine, 1)[0]


def _form(engine: Engine) -> ClipForm:
    wanted = engine.manifest.defaults
    size = {"num_frames": wanted.num_frames, "width": wanted.width, "height": wanted.height}
    return ClipForm(**size, fps=wanted.fps, max_enlargement=MAX_ENLARGEMENT)
