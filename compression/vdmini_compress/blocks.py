"""Blocks of a U-Net and how to switch one off in place, so that it shows what it was worth.

A switched-off block keeps the path around it: the shortcut of a ResBlock, the input of everything else. Weights and
skip connections stay, so every single block can go, also where no pruning plan could remove it alone. It leaves
removing for good to `vdmini.student`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from vdmini.removal import PAIR_LISTS

Kind = Literal["pair", "temporal", "middle", "stage"]

TEMPORAL = ("AlphaBlender", "TemporalConvLayer", "TransformerTemporalModel")
"""Classes of the parts of a stage that see several frames: a blender's second input, or modules of their own."""


@dataclass(frozen=True)
class Block:
    """Something that can be switched off.

    Args:
        name: of the ResBlock for an R-A pair (as in a `vdmini.plan.PruningPlan`), of the stage for its temporal part.
        label: as the paper writes it, "D0 pair 1", "U3 temporal", "Mid", "innermost stage".
        kind: what it is.
        position: 0 for what runs first.
        modules: names of the modules that are switched off.
        parameters: weights that only serve this block.
    """

    name: str
    label: str
    kind: Kind
    position: int
    modules: tuple[str, ...]
    parameters: int


def blocks_of(unet: Any) -> tuple[Block, ...]:
    """Every R-A pair, every stage's temporal part, the middle, and the innermost stage as a whole.

    They come in the order in which the U-Net runs them, the innermost stage (with the middle in it) last.

    Args:
        unet: `UNetSpatioTemporalConditionModel`, `UNet3DConditionModel`, or a student of one.
    """
    found: list[Block] = []
    for index, stage in enumerate(unet.down_blocks):
        found += _stage(unet, stage, f"down_blocks.{index}", f"D{index}", len(found))
    found.append(_block(unet, "mid_block", "Mid", "middle", len(found), ["mid_block"]))
    for index, stage in enumerate(unet.up_blocks):
        found += _stage(unet, stage, f"up_blocks.{index}", f"U{index}", len(found))
    return (*found, _innermost(unet, found))


def _stage(unet: Any, stage: Any, name: str, label: str, position: int) -> list[Block]:
    pairs = [
        _block(
            unet,
            f"{name}.resnets.{j}",
            f"{label} pair {j}",
            "pair",
            position + j,
            [f"{name}.{part}.{j}" for part in PAIR_LISTS if hasattr(stage, part)],
        )
        for j in range(len(stage.resnets))
    ]
    temporal = [f"{name}.{inner}" for inner, module in stage.named_modules() if type(module).__name__ in TEMPORAL]
    return [*pairs, _block(unet, name, f"{label} temporal", "temporal", position + len(pairs), temporal)]


def _innermost(unet: Any, found: list[Block]) -> Block:
    """The pairs of the last Down and the first Up stage, and the middle; what resamples on the way there stays."""
    down = f"down_blocks.{len(unet.down_blocks) - 1}"
    inside = [b for b in found if b.kind == "middle" or (b.kind == "pair" and b.name.startswith((down, "up_blocks.0")))]
    modules = [module for block in inside for module in block.modules]
    return _block(unet, down, "innermost stage", "stage", len(found), modules)


def _block(unet: nn.Module, name: str, label: str, kind: Kind, position: int, modules: list[str]) -> Block:
    counted = modules if kind != "temporal" else [_temporal_weights(unet, module) for module in modules]
    parameters = sum(p.numel() for module in counted for p in unet.get_submodule(module).parameters())
    return Block(name, label, kind, position, tuple(modules), parameters)


def _temporal_weights(unet: nn.Module, module: str) -> str:
    """The module whose weights are idle when a temporal part is off: for a blender, the one that feeds it."""
    owner = module.rpartition(".")[0]
    if type(unet.get_submodule(module)).__name__ != "AlphaBlender":
        return module
    feeds = (
        "temporal_res_block"
        if hasattr(unet.get_submodule(owner), "temporal_res_block")
        else "temporal_transformer_blocks"
    )
    return f"{owner}.{feeds}"


@contextmanager
def switched_off(unet: nn.Module, block: Block) -> Iterator[None]:
    """Run the U-Net without a block inside the `with`; afterwards it is as before."""
    with ExitStack() as stack:
        for name in block.modules:
            stack.enter_context(_passing(unet.get_submodule(name)))
        yield


@contextmanager
def _passing(module: nn.Module) -> Iterator[None]:
    module.forward = _pass_spatial if type(module).__name__ == "AlphaBlender" else _pass_around(module)
    try:
        yield
    finally:
        del module.forward


def _pass_spatial(x_spatial: Tensor, **_: Any) -> Tensor:
    return x_spatial


def _pass_around(module: nn.Module) -> Callable[..., Any]:
    shortcut = getattr(getattr(module, "spatial_res_block", module), "conv_shortcut", None)

    def forward(hidden_states: Tensor, *_: Any, **options: Any) -> Any:
        kept = hidden_states if shortcut is None else shortcut(hidden_states)
        return (kept,) if options.get("return_dict") is False else kept

    return forward
