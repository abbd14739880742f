"""How a model was made, as a worker publishes it: apart from the descriptor, since it is long and seldom read.

What is measured of it is in the descriptor.
"""

from typing import Any

from pydantic import ConfigDict, Field

from vdmini_serve.contract.record import Record

MOST_BYTES = 128 * 1024
"""Largest receipt that is kept in Redis, as JSON: room for the importance of a few hundred blocks."""
DROPPED_FIRST = ("files", "training", "importance", "recipe")
"""What a longer one loses, in this order, until it fits."""


class Tolerant(Record):
    """Passes over fields it doesn't know: workers and API may differ in age, and artifacts in both."""

    model_config = ConfigDict(extra="ignore")


class UNetShape(Tolerant):
    """The teacher's U-Net, as far as a picture of it needs it; pruned blocks are in `removed_blocks`."""

    widths: tuple[int, ...] = Field(description="channels of each stage, from the outermost inwards")
    pairs: tuple[int, ...] = Field(description="R-A pairs of each Down stage; an Up stage has one more")


class Yardstick(Tolerant):
    """What content or motion is measured by."""

    words: str = Field(description="its name")
    unit: str = Field(description="its unit")


class BlockImportance(Tolerant):
    """What one block is worth: the teacher with it off, minus the teacher with all on, nothing healed."""

    name: str = Field(description="as in removed_blocks")
    label: str = Field(description="short, such as D0 pair 1")
    kind: str = Field(description="pair, temporal, middle or stage")
    content_lost: float = Field(description="rise of the content measure")
    motion_lost: float = Field(description="rise of the motion measure")
    seconds_saved: float = Field(description="per U-Net forward pass")


class Importance(Tolerant):
    """What each block of the teacher is worth, measured before pruning."""

    device: str = Field(description="where it was measured")
    data: str = Field(description="what the clips are of")
    clips: int = Field(description="how many clips")
    forward_seconds: float = Field(description="a U-Net forward pass with all blocks on")
    content: Yardstick = Field(description="the content measure")
    motion: Yardstick = Field(description="the motion measure")
    measured_at: str = Field(description="when")
    blocks: tuple[BlockImportance, ...] = Field(description="all blocks that were switched off")


class Receipt(Tolerant):
    """How a model was made."""

    name: str = Field(description="of the model")
    recipe: dict[str, Any] = Field(default_factory=dict, description="what was asked for; empty where it is not known")
    training: dict[str, Any] = Field(default_factory=dict, description="what was done; empty where it is not known")
    unet: UNetShape | None = Field(default=None, description="the teacher's U-Net; null where there is none")
    importance: Importance | None = Field(default=None, description="of the teacher's blocks; null when not recorded")
    files: dict[str, str] = Field(default_factory=dict, description="path -> sha256 of every file of the artifact")
    left_out: tuple[str, ...] = Field(default=(), description="fields that were too long to be kept")


def bounded(receipt: Receipt) -> Receipt:
    """The same receipt, without what is too long to be kept."""
    for field in DROPPED_FIRST:
        if len(receipt.model_dump_json().encode()) <= MOST_BYTES:
            return receipt
        nothing = Receipt.model_fields[field].get_default(call_default_factory=True)
        if getattr(receipt, field) != nothing:
            receipt = receipt.model_copy(update={field: nothing, "left_out": (*receipt.left_out, field)})
    return receipt
