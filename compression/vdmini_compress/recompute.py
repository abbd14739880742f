"""Gradient checkpointing: the blocks of a U-Net forget their activations and compute them again in the backward pass.

diffusers knows it for SVD's ResBlocks alone; here every entry of a stage's lists is recomputed, in every family.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from vdmini.removal import PAIR_LISTS

Context = AbstractContextManager[Any]


@contextmanager
def recomputed(unet: nn.Module, *, wanted: bool = True, under: Callable[[], Context] = nullcontext) -> Iterator[None]:
    """The blocks of a U-Net are recomputed inside the `with`, those of copies made there for good.

    Args:
        unet: a teacher's or a student's; in evaluation mode, since dropout would be drawn anew.
        wanted: False changes nothing.
        under: makes what a block is recomputed in; autocast needs none, it is noted and entered again.
    """
    blocks = list(_blocks(unet)) if wanted else []
    kinds = [type(block) for block in blocks]
    for block, kind in zip(blocks, kinds, strict=True):
        # A subclass and no new attribute: a copy of the block then recomputes its own activations.
        block.__class__ = type(f"Recomputed{kind.__name__}", (_Recomputed, kind), {"_under": staticmethod(under)})
    try:
        yield
    finally:
        for block, kind in zip(blocks, kinds, strict=True):
            block.__class__ = kind


class _Recomputed:
    """Stands before a block's own class."""

    _under: Callable[[], Context]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The block's, recomputed."""
        settings: Any = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": self._contexts}
        return checkpoint(super().forward, *args, **settings, **kwargs)  # type: ignore[misc]

    def _contexts(self) -> tuple[Context, Context]:
        """Of the first pass and of the second."""
        return nullcontext(), self._under()


def _blocks(unet: nn.Module) -> Iterator[nn.Module]:
    for name, module in unet.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in PAIR_LISTS:
            yield from module
