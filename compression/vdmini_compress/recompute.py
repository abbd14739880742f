"""Gradient checkpointing: the blocks of a U-Net forget their activations and compute them again in the backward pass.

diffusers knows it for SVD's ResBlocks alone; here every entry of a stage's lists is recomputed, in every family.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from vdmini.removal import PAIR_LISTS


@contextmanager
def recomputed(unet: nn.Module, *, wanted: bool = True) -> Iterator[None]:
    """The blocks of a U-Net are recomputed inside the `with`, those of copies made there for good.

    Args:
        unet: a teacher's or a student's; in evaluation mode, since dropout would be drawn anew.
        wanted: False changes nothing.
    """
    blocks = list(_blocks(unet)) if wanted else []
    kinds = [type(block) for block in blocks]
    for block, kind in zip(blocks, kinds, strict=True):
        # A subclass and no new attribute: a copy of the block then recomputes its own activations.
        block.__class__ = type(f"Recomputed{kind.__name__}", (_Recomputed, kind), {})
    try:
        yield
    finally:
        for block, kind in zip(blocks, kinds, strict=True):
            block.__class__ = kind


class _Recomputed:
    """Stands before a block's own class."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The block's, recomputed."""
        return checkpoint(super().forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)  # type: ignore[misc]


def _blocks(unet: nn.Module) -> Iterator[nn.Module]:
    for name, module in unet.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in PAIR_LISTS:
            yield from module
