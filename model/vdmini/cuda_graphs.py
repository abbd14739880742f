"""A module's forward pass, recorded once for every shape of its input and replayed: a GPU needn't wait for Python.

A recording keeps the memory of its activations.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

log = logging.getLogger(__name__)

WARM_UP = 3
"""Passes before a recording, in which libraries choose their kernels; torch's documentation asks for them."""

MOST = 4
"""Recordings kept; the one that was used least lately goes first."""


@dataclass
class Recording:
    """One graph, the tensors that it reads and what it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Any


class GraphedForward:
    """Stands in for the `forward` of a module in evaluation mode on a CUDA device.

    Args:
        forward: the module's own. One that waits for the device or copies to it can't be recorded, nor can one that
            memory has no room for a second time; it is then called as it is.
        name: of the module, for the log.
    """

    def __init__(self, forward: Callable[..., Any], name: str = "module") -> None:
        self._forward, self._name = forward, name
        self._recordings: OrderedDict[Any, Recording] = OrderedDict()
        self._refused = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` returns, in memory of its own."""
        leaves, tree = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        key = (tree, *(_kind(leaf) for leaf in leaves))
        if self._refused:
            return self._forward(*args, **kwargs)
        if key not in self._recordings:
            try:
                self._recordings[key] = self._record(leaves, tree)
            except RuntimeError as error:
                self._refused = True
                log.warning("the kernels of %s can't be recorded and run one by one: %s", self._name, error)
                return self._forward(*args, **kwargs)
            if len(self._recordings) > MOST:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        recording = self._recordings[key]
        for own, given in zip(recording.inputs, tensors, strict=True):
            own.copy_(given)
        recording.graph.replay()
        return pytree.tree_map_only(Tensor, torch.clone, recording.output)

    def _record(self, leaves: list[Any], tree: Any) -> Recording:
        kept = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(kept, tree)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._forward(*args, **kwargs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._forward(*args, **kwargs)
        return Recording(graph, [leaf for leaf in kept if isinstance(leaf, Tensor)], output)


def _kind(leaf: Any) -> Any:
    """What a recording depends on: a tensor's shape, another argument's value."""
    return (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def graph_forward(module: nn.Module) -> None:
    """Record and replay a module's forward pass from now on; one on a CPU stays as it is."""
    if next(module.parameters()).is_cuda:
        module.forward = GraphedForward(module.forward, type(module).__name__)
