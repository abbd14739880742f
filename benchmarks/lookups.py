"""What it takes diffusers to look up a full-size pipeline's device and its U-Net's precision, and what a clip looks up.

    python benchmarks/lookups.py --output benchmarks/results/NAME.json

Models have no weights (meta device): a lookup walks through modules, so it takes this machine's host as long as if they
had. How many of them a clip makes is counted while narrow models make one.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ModelMixin
from full_size_clips import engine_of, pipeline_of
from provenance import provenance
from train_step import narrowed

from vdmini.engine import quiet_libraries
from vdmini.families import family_named
from vdmini_compress.evaluate import settings_of
from vdmini_compress.material import sample_input

REPEATS = 30
LOOKED_UP = ((DiffusionPipeline, "_execution_device"), (ModelMixin, "dtype"), (ModelMixin, "device"))


def milliseconds(call: Callable[[], Any]) -> float:
    """Median of a call."""
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return round(1000 * statistics.median(times), 3)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count lookups by the class that is asked and what for."""
    seen: Counter[str] = Counter()
    stock = {(owner, name): vars(owner)[name] for owner, name in LOOKED_UP}

    def counting(found: property, name: str) -> property:
        def ask(self: Any) -> Any:
            seen[f"{type(self).__name__}.{name}"] += 1
            return found.fget(self) if found.fget else None

        return property(ask)

    for (owner, name), found in stock.items():
        setattr(owner, name, counting(found, name))
    try:
        yield seen
    finally:
        for (owner, name), found in stock.items():
            setattr(owner, name, found)


def measured(name: str) -> dict[str, Any]:
    """One family."""
    family = family_named(name)
    whole = pipeline_of(family, family.full_size, torch.device("meta"), narrow=False)
    models = {key: model for key, model in vars(whole).items() if isinstance(model, torch.nn.Module)}
    narrow = engine_of(family, narrowed(family.full_size, 64), torch.device("cpu"), narrow=True)
    small = {"width": 64, "height": 64, "num_frames": 2}
    if family.task == "i2v":
        small |= {"num_inference_steps": 1, "guidance_scale": 1.0}
    wanted = settings_of(narrow, **sample_input(narrow) | small)
    with counted() as seen:
        narrow.generate(**wanted)
    return {
        "modules": {key: sum(1 for _ in model.modules()) for key, model in models.items()},
        "milliseconds": {
            "pipeline's device": milliseconds(lambda: whole._execution_device),
            "U-Net's precision": milliseconds(lambda: whole.unet.dtype),
            "U-Net's device": milliseconds(lambda: whole.unet.device),
        },
        "num_inference_steps": wanted["num_inference_steps"],
        "lookups_of_a_clip": dict(seen),
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    quiet_libraries()
    found = {name: measured(name) for name in ("svd", "videocrafter2")}
    record = provenance(shlex.join(["python", *sys.argv])) | {"pipelines": found}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
