"""A player: a model that is trained, with its optimizer and the average of its weights. It draws no data."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vdmini_compress.sharding import Layout

OPTIMIZERS = ("adamw", "adamw-8bit")


class Player:
    """One side of a training; a discriminator is the other.

    Args:
        layout: of the module whose trainable parameters are optimized.
        learning_rate: peak learning rate.
        weight_decay: decoupled weight decay.
        max_grad_norm: global gradient norm to clip to.
        ema_decay: decay per step of the averaged weights, or None to keep none.
        optimizer: one of `OPTIMIZERS`; "adamw-8bit" needs bitsandbytes and keeps its state in a quarter of the memory.

    Raises:
        ValueError: when the optimizer is unknown or its package is missing.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        learning_rate: float,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
        ema_decay: float | None = None,
        optimizer: str = "adamw",
    ) -> None:
        self.layout = layout
        self.trained = layout.parameters
        self.learning_rate, self.max_grad_norm, self.ema_decay = learning_rate, max_grad_norm, ema_decay
        self.optimizer = _optimizer(optimizer, self.trained, learning_rate, weight_decay)
        self.average = [] if ema_decay is None else [p.detach().clone() for p in self.trained]

    def update(self, step: int, factor: float) -> None:
        """One optimizer step at `factor` times the learning rate, after the gradients are set.

        Raises:
            FloatingPointError: when a gradient is not finite; nothing has moved then.
        """
        norm = self.layout.gradient_norm()
        if not torch.isfinite(norm):
            raise FloatingPointError(f"gradients are not finite at step {step}; lower the learning rate and resume")
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * factor
        nn.utils.clip_grads_with_norm_(self.trained, self.max_grad_norm, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema_decay is not None:
            decay = min(self.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.trained], 1 - decay)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it, the same for every layout; see `Layout.whole`."""
        held = {
            "parameters": [p.detach() for p in self.trained],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        return _changed(held, self.layout.whole)

    def load(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        held = _changed(state, self.layout.sliced)
        _copy(self.trained, held["parameters"])
        _copy(self.average, held["average"])
        self.optimizer.load_state_dict(held["optimizer"])

    def swap_average(self) -> None:
        """Exchange the weights and their average; a second call exchanges them back."""
        for parameter, mean in zip(self.trained, self.average, strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(mean)
            mean.copy_(kept)


def _changed(state: dict[str, Any], change: Callable[[list[Tensor]], list[Tensor]]) -> dict[str, Any]:
    """A state with all tensors changed that go with a parameter; numbers of steps have no dimensions."""
    optimizer = state["optimizer"]
    kept = {of: dict(values) for of, values in optimizer["state"].items()}
    for name in sorted({name for values in kept.values() for name in values}):
        shaped = [of for of in kept if isinstance(kept[of][name], Tensor) and kept[of][name].dim()]
        for of, value in zip(shaped, change([kept[of][name] for of in shaped]), strict=True):
            kept[of][name] = value
    return {
        "parameters": change(state["parameters"]),
        "average": change(state["average"]),
        "optimizer": optimizer | {"state": kept},
    }


def _copy(to: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(to, values, strict=True):
        tensor.data.copy_(value)


def _optimizer(name: str, trained: list[nn.Parameter], rate: float, decay: float) -> torch.optim.Optimizer:
    if name == "adamw":
        return torch.optim.AdamW(trained, rate, betas=(0.9, 0.99), weight_decay=decay, fused=True)
    if name != "adamw-8bit":
        raise ValueError(f"optimizer {name!r} is unknown; give one of {', '.join(OPTIMIZERS)}")
    try:
        import bitsandbytes
    except ImportError as error:
        raise ValueError("optimizer adamw-8bit needs `pip install bitsandbytes`; or give adamw") from error
    made: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(trained, rate, betas=(0.9, 0.99), weight_decay=decay)
    return made
