"""How much memory a computation takes at most, found by running it on the meta device: shapes without numbers.

It leaves what is computed to its callers. `Footprint` counts; `Precision` does what autocast would do on a real device,
which the meta device has none of.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

Arithmetic = Literal["bfloat16", "float32"]
"""bfloat16: as autocast trains on a GPU, with flash attention; float32: as a CPU trains, with plain attention."""

IN_BFLOAT16 = frozenset({"conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "baddbmm", "addmm"})
IN_FLOAT32 = frozenset({"group_norm", "layer_norm", "softmax", "norm", "pow", "exp", "log", "cumsum"})
"""Names of functions that autocast runs in either precision on a GPU, as far as these models call them."""

ATTENTION = "scaled_dot_product_attention"


class Footprint(TorchDispatchMode):
    """Bytes of the tensors that are made inside the `with`: those alive now, and the most there were at a time.

    Views of a tensor take nothing, and what existed before isn't counted. Neither are kernels' workspaces, what an
    allocator keeps back, and tensors that a kernel makes for itself alone. It counts FLOPs, too (2 per multiply-add):
    torch's own counter keeps what is recomputed alive.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = self.flops = 0
        self._known: set[int] = set()
        self._old: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and note what it made."""
        tree_map_only(Tensor, self._pass, (args, kwargs))
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._note, made)
        count = flop_registry.get(getattr(func, "overloadpacket", None))
        if count is not None:
            self.flops += int(count(*args, **(kwargs or {}), out_val=made))
        return made

    def _pass(self, tensor: Tensor) -> Tensor:
        """What goes in without having been made here is old, and what is a view of it isn't new."""
        key = tensor.untyped_storage()._cdata
        if key not in self._known:
            self._old.add(key)
        return tensor

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._old:
            return tensor
        self._known.add(key)
        weakref.finalize(storage, self._let_go, key, size)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        return tensor

    def _let_go(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


class Precision(TorchFunctionMode):
    """Casts as autocast casts, and attends as the device attends.

    Autocast also keeps casts of trained weights until a pass ends; without checkpointing the graph keeps them anyway,
    and with it the pass ends before the peak. It is off while gradients are computed: what is recomputed then must
    enter one of its own, see `vdmini_compress.recompute.recomputed`.

    Args:
        arithmetic: what to imitate.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.lower = arithmetic == "bfloat16"

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function on what autocast would hand it."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == ATTENTION:
            return self._attend(*args[:3], **{key: value for key, value in kwargs.items() if key in "query key value"})
        if self.lower and name in IN_BFLOAT16:
            args, kwargs = _cast((args, kwargs), torch.bfloat16)
        elif self.lower and name in IN_FLOAT32:
            args, kwargs = _cast((args, kwargs), torch.float32)
        return func(*args, **kwargs)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if not self.lower:
            made: Tensor = torch.ops.aten._scaled_dot_product_attention_math(query, key, value)[0]
            return made
        low: tuple[Tensor, Tensor, Tensor] = _cast((query, key, value), torch.bfloat16)
        flash: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(*low)[0]
        return flash


def _cast(values: Any, dtype: torch.dtype) -> Any:
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype is not dtype else tensor

    return tree_map_only(Tensor, cast, values)
