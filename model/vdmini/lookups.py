"""What diffusers looks up anew at every call, remembered: the device and the precision of models and pipelines.

It finds each by walking through all modules, which may carry hooks that say otherwise. A full-size video U-Net
has over 1,500 modules, it asks for its precision in every pass, and a pipeline asks for its device in every clip: a GPU
waits for that.
"""

from typing import Any

from diffusers import DiffusionPipeline, ModelMixin


def remember_lookups(pipeline: Any) -> None:
    """Fix what a pipeline and its models answer, in place; none may be moved, cast or given hooks afterwards.

    Args:
        pipeline: where it stays, in the precision that it keeps.
    """
    for model in vars(pipeline).values():
        if isinstance(model, ModelMixin):
            _answer(model, device=model.device, dtype=model.dtype)
    if isinstance(pipeline, DiffusionPipeline):
        device = pipeline._execution_device
        _answer(pipeline, device=device, _execution_device=device)


def _answer(thing: Any, **values: Any) -> None:
    """Give an object a class of its own, by the name of its old one, whose properties are these values."""
    stock = type(thing)
    thing.__class__ = type(stock.__name__, (stock,), values | {"__module__": stock.__module__})
