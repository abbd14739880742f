"""Layouts: how a trained model's weights lie over the processes of a training, and how its gradients are averaged.

`DataParallel` keeps the weights whole in every process. `FullyShard` (torch's FSDP2) gives each process a slice of the
weights, and so of gradients, averages and moments. Stepping is left to `vdmini_compress.player`.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from vdmini.removal import PAIR_LISTS
from vdmini_compress.precision import trains_in_bfloat16

Sharding = Literal["none", "full"]

Batch = Callable[[], dict[str, Tensor]]
"""Draws one batch and returns named losses whose sum is minimised."""

UNITS = (*PAIR_LISTS, "downsamplers", "upsamplers")
"""Module lists of a U-Net whose entries are gathered, run and let go one by one. Taps listen to such entries, never
inside one: a gradient that enters below a unit's output would find its weights gone."""


def processes() -> PartialState:
    """The processes of this training: one, or those that `torchrun` or `accelerate launch` started."""
    return PartialState(cpu=not torch.cuda.is_available())


@dataclass(frozen=True)
class Alone:
    """One process that trains by itself, whatever others there are."""

    num_processes: int = 1
    process_index: int = 0
    is_main_process: bool = True

    def wait_for_everyone(self) -> None:
        """Nobody else is waited for."""


class Layout(Protocol):
    """How one model lies over the processes; every method is called in all of them, in the same order."""

    model: nn.Module
    """What losses are to run: the model itself, or a twin made of slices."""

    parameters: list[nn.Parameter]
    """What an optimizer moves: the trainable parameters, or this process's slices of them."""

    def differentiate(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Leave the mean gradient over batches and processes in `parameters`; return the mean losses, detached."""
        ...

    def gradient_norm(self) -> Tensor:
        """The norm of all gradients together."""
        ...

    def whole(self, slices: list[Tensor]) -> list[Tensor]:
        """What these are slices of, in the first process; elsewhere what it returns means nothing."""
        ...

    def sliced(self, whole: list[Tensor]) -> list[Tensor]:
        """This process's slices."""
        ...

    def show(self) -> None:
        """Give the model that the layout was made of its current weights, in the first process."""
        ...

    def hide(self) -> None:
        """Free what `show` took."""
        ...


@contextmanager
def shown(layout: Layout) -> Iterator[None]:
    """The original model has its current weights inside the `with`, in the first process."""
    layout.show()
    try:
        yield
    finally:
        layout.hide()


def layout_of(model: nn.Module, sharding: Sharding, team: PartialState | Alone, *, threads: int = 1) -> Layout:
    """The layout that is asked for; in one process nothing can be sharded, and the model stays as it is."""
    if sharding == "full" and team.num_processes > 1:
        return FullyShard(model)
    return DataParallel(model, team, threads=threads)


class DataParallel:
    """All weights in every process.

    Args:
        model: its trainable parameters are differentiated.
        team: the processes that train it.
        threads: batches that are computed side by side on a CPU; on a GPU they take turns, which saves memory.
    """

    def __init__(self, model: nn.Module, team: PartialState | Alone, *, threads: int = 1) -> None:
        self.model, self.processes = model, team
        self.parameters = _trained(model)
        each = max(1, torch.get_num_threads() // threads)
        self._threads = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(each,))

    def differentiate(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """See `Layout`. Gradients reach this model alone, whatever else the losses depend on."""

        def one(batch: Batch) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
            losses = batch()
            gradients = torch.autograd.grad(_total(losses), self.parameters, allow_unused=True)
            return _detached(losses), gradients

        aside = len(batches) > 1 and self.parameters[0].device.type == "cpu"
        said = []
        for parameter in self.parameters:
            parameter.grad = None
        # Batches that take turns are added up one by one: all gradients of all batches would not fit a GPU.
        for losses, gradients in self._threads.map(one, batches) if aside else map(one, batches):
            self._add(gradients)
            said.append(losses)
            del gradients
        self._average(len(batches))
        return _mean(said, self.processes)

    def _add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add one batch's gradients to those of the batches before it; not in place, for autograd shares tensors."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _average(self, batches: int) -> None:
        """From sums over this process's batches to means over all; one that no batch reached stays None."""
        for parameter in self.parameters:
            if parameter.grad is None:
                continue
            parameter.grad = parameter.grad / batches
            if self.processes.num_processes > 1:
                parameter.grad = reduce(parameter.grad, "mean")

    def gradient_norm(self) -> Tensor:
        """See `Layout`."""
        return _norm(self.parameters)

    def whole(self, slices: list[Tensor]) -> list[Tensor]:
        """They are whole."""
        return slices

    def sliced(self, whole: list[Tensor]) -> list[Tensor]:
        """They stay whole."""
        return whole

    def show(self) -> None:
        """Nothing: the model has its weights."""

    def hide(self) -> None:
        """Nothing."""


class FullyShard:
    """A slice of every weight in each process; a block's weights are whole only while it runs.

    The slices live in a twin of the model. The model itself is emptied but stays what it was, and while it is shown it
    can be sampled and saved as ever.

    Args:
        model: its trainable parameters are differentiated; the same weights in all processes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.processes, self._original = processes(), model
        self.mesh = init_device_mesh(self.processes.device.type, (self.processes.num_processes,))
        self.model, policy = _twin(model), _policy(self.processes.device)
        for unit in (*_units(self.model), self.model):
            fully_shard(unit, mesh=self.mesh, mp_policy=policy)
        self.hide()
        self._distributed = _trained(self.model)
        # As plain tensors, which share the memory, they cost no collective per operation and no dispatch.
        self.parameters = [nn.Parameter(_slice(parameter.detach())) for parameter in self._distributed]

    def differentiate(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """See `Layout`. Batches take turns: the weights of a block are gathered for one pass at a time.

        FSDP works in hooks of `backward`, which unlike `autograd.grad` also leaves gradients in a discriminator that
        the losses pass through; its own step replaces them.
        """
        done = [self._backward(batch, len(batches)) for batch in batches]
        for distributed, own in zip(self._distributed, self.parameters, strict=True):
            own.grad = None if distributed.grad is None else _slice(distributed.grad)
            distributed.grad = None
        return _mean(done, self.processes)

    def _backward(self, batch: Batch, batches: int) -> dict[str, Tensor]:
        with warnings.catch_warnings():
            # Some blocks return views, which torch warns not to write into; no U-Net does.
            warnings.filterwarnings("ignore", "FSDP2-wrapped module", UserWarning)
            losses = batch()
        (_total(losses) / batches).backward()
        return _detached(losses)

    def gradient_norm(self) -> Tensor:
        """See `Layout`."""
        square: Tensor = reduce(_norm(self.parameters).square(), "sum")
        return square.sqrt()

    def whole(self, slices: list[Tensor]) -> list[Tensor]:
        """See `Layout`; they come to the first process's main memory, all at once: a collective each takes longer.

        They travel as arrays, which are pickled many times faster than tensors.
        """
        first = self.processes.is_main_process
        gathered: list[Any] | None = [None] * self.processes.num_processes if first else None
        dist.gather_object([part.detach().cpu().numpy() for part in slices], gathered, dst=0)
        if gathered is None:
            return slices
        return [torch.cat([torch.from_numpy(part) for part in parts]) for parts in zip(*gathered, strict=True)]

    def sliced(self, whole: list[Tensor]) -> list[Tensor]:
        """See `Layout`."""
        return [_slice(distribute_tensor(value, self.mesh, [Shard(0)], src_data_rank=None)).clone() for value in whole]

    def show(self) -> None:
        """See `Layout`."""
        whole = self.whole([_slice(parameter.detach()) for parameter in self.model.parameters()])
        if self.processes.is_main_process:
            for empty, value in zip(self._original.parameters(), whole, strict=True):
                empty.data = value.to(empty.device)

    def hide(self) -> None:
        """See `Layout`."""
        for parameter in self._original.parameters():
            parameter.data = parameter.data.new_empty(0)


def _twin(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares the tensors."""
    return deepcopy(model, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())})


def _units(model: nn.Module) -> Iterator[nn.Module]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in UNITS:
            yield from module


def _policy(device: torch.device) -> MixedPrecisionPolicy:
    """Weights are gathered in what autocast would make of them: its own copies would outlive their block."""
    if not trains_in_bfloat16(device):
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)


def _slice(distributed: Tensor) -> Tensor:
    """This process's part of a tensor that FSDP distributed."""
    if not isinstance(distributed, DTensor):
        raise TypeError(f"FSDP left a {type(distributed).__name__} where slices were expected")
    return distributed.to_local()


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}


def _mean(done: Sequence[dict[str, Tensor]], over: PartialState | Alone) -> dict[str, Tensor]:
    """Mean losses over batches and processes."""
    mean = {name: torch.stack([losses[name] for losses in done]).mean() for name in done[0]}
    if over.num_processes == 1:
        return mean
    shared: dict[str, Tensor] = reduce(mean, "mean")
    return shared
