"""What a recipe says about real videos, and what a clip must look like.

It leaves finding files to `sources` and reading them to `reading`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vdmini.manifest import Defaults, Record

Split = Literal["train01", "train02", "train03", "test01", "test02", "test03"]


class Videos(Record):
    """Real videos to learn from."""

    source: Literal["folder", "openvid", "ucf101"] = Field(description="how the videos and their captions are laid out")
    path: Path = Field(description="folder that holds the videos, nested or not")
    captions: Path | None = Field(
        default=None,
        description="folder: CSV or JSONL of file and caption; openvid: the published CSV; found by its name if silent",
    )
    split: Split | None = Field(default=None, description="ucf101: one of the published lists; all videos if silent")
    fps: float | None = Field(
        default=None, gt=0, le=120, description="frames per second to resample to; the teacher's default if silent"
    )
    width: int | None = Field(
        default=None, ge=64, multiple_of=64, description="of a clip in pixels; the teacher's default if silent"
    )
    height: int | None = Field(default=None, ge=64, multiple_of=64, description="in pixels, as width")
    num_frames: int | None = Field(default=None, ge=3, le=256, description="of a clip; the teacher's default if silent")
    held_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the films that no training sees: samples, quality and decoders are measured on them",
    )
    motion_bucket_id: int = Field(default=127, ge=0, le=255, description="what an image-to-video model is told")
    max_enlargement: float = Field(
        default=2.0, gt=0, le=16, description="videos that must be enlarged more to fill a frame are skipped"
    )
    readers: int = Field(default=4, ge=1, le=64, description="videos read at the same time, a thread each")

    @model_validator(mode="after")
    def _fields_fit_the_source(self) -> "Videos":
        if self.split and self.source != "ucf101":
            raise ValueError(f"split belongs to source ucf101, not to {self.source}; leave it out")
        if self.captions and self.source == "ucf101":
            raise ValueError("captions don't belong to source ucf101, whose class names are the captions; leave it out")
        return self


class ClipForm(Record):
    """The form into which every video is brought."""

    num_frames: int = Field(ge=1, description="frames per clip")
    width: int = Field(ge=8, multiple_of=8, description="in pixels; 8 of them are a latent")
    height: int = Field(ge=8, multiple_of=8, description="in pixels")
    fps: float = Field(gt=0, le=120, description="frames per second")
    max_enlargement: float = Field(default=2.0, gt=0, description="see `Videos.max_enlargement`")

    @staticmethod
    def of(videos: Videos, defaults: Defaults) -> "ClipForm":
        """The form that `videos` asks for; where it is silent, that of a teacher's own clips."""
        return ClipForm(
            num_frames=videos.num_frames or defaults.num_frames,
            width=videos.width or defaults.width,
            height=videos.height or defaults.height,
            fps=videos.fps or defaults.fps,
            max_enlargement=videos.max_enlargement,
        )
