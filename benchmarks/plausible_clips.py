"""Does the check of finished clips cry wolf? Clips of the committed models over many seeds, prompts and photos.

python benchmarks/plausible_clips.py [--clips 200] > benchmarks/results/NAME.json

It records what the check measures, its alarms, and the least motion and contrast of those that were to move.
Broken clips, made of the same ones, show that the thresholds can be crossed: those of photos with little to see are
let through on purpose.
"""

import argparse
import io
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from provenance import provenance

from vdmini.engine import Generation
from vdmini_compress.world.captions import all_scenes
from vdmini_serve.contract.request import JobSpec
from vdmini_serve.contract.settings import Settings
from vdmini_serve.up import default_artifacts
from vdmini_serve.worker import plausibility
from vdmini_serve.worker.models import LoadedModel
from vdmini_serve.worker.shelf import load
from vdmini_serve.worker.warmup import default_spec

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "page", "moon", "coins", "brick", "grass")
BUCKETS = (0, 10, 32, 64, 127, 190, 255)
UNMOVING = ("a red circle", "a photo of a still lake", "a black screen", "nothing moves")
"""Prompts that name no motion; they come in turn with the captions of the models' own world."""


def main(clips: int) -> None:
    """Print the record as JSON."""
    models = load(Settings(artifacts=default_artifacts(), device="cpu"))
    each = clips // len(models)
    found = {name: _of_model(model, each) for name, model in models.items()}
    thresholds = {
        name: getattr(plausibility, name)
        for name in ("PLAIN_LEVELS", "STILL_LEVELS", "FLICKER_SHARE", "LEAST_BUCKET", "LEAST_IMAGE_CONTRAST")
    }
    command = f"python benchmarks/plausible_clips.py --clips {clips}"
    print(json.dumps(provenance(command) | {"thresholds": thresholds, "models": found}, indent=2))


def _of_model(model: LoadedModel, clips: int) -> dict[str, Any]:
    alarms: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    measured, judged = [], []
    for index in range(clips):
        spec, image = _job(model, index)
        made = model.run(spec, image, lambda _: None)
        found = plausibility.measure(made.frames)
        measured.append(asdict(found))
        if plausibility.asks_for_motion(spec, image):
            judged.append(found)
        alarms.update([plausibility.implausible(made, spec, image) or "none"])
        eager = spec.model_copy(update={"motion_bucket_id": 127})
        for name, frames in _broken(made.frames, index).items():
            noticed[name] += plausibility.implausible(Generation(frames, {}), eager, image) == name
    ranges = {
        key: {
            "least": round(min(values), 4),
            "median": round(float(np.median(values)), 4),
            "most": round(max(values), 4),
        }
        for key in measured[0]
        for values in [[each[key] for each in measured]]
    }
    return {
        "clips": clips,
        "alarms": dict(alarms),
        "measures": ranges,
        "asked_for_motion": {
            "clips": len(judged),
            "least_motion": round(min(each.motion for each in judged), 4),
            "least_contrast": round(min(each.contrast for each in judged), 4),
        },
        "broken_clips_noticed": dict(noticed),
    }


def _job(model: LoadedModel, index: int) -> tuple[JobSpec, bytes | None]:
    """Job `index` of a model; every combination differs in its seed."""
    spec = default_spec(model.descriptor)
    steps = model.descriptor.limits.num_inference_steps
    changes: dict[str, Any] = {"seed": 1000 + index, "num_inference_steps": steps[index % len(steps)]}
    if spec.task == "t2v":
        return spec.model_copy(update=changes | {"prompt": _prompt(index)}), None
    changes["motion_bucket_id"] = BUCKETS[index % len(BUCKETS)]
    return spec.model_copy(update=changes), _photo(PHOTOS[index % len(PHOTOS)], spec.width, spec.height)


def _prompt(index: int) -> str:
    scenes = all_scenes()
    return UNMOVING[index // 5 % len(UNMOVING)] if index % 5 == 0 else scenes[index * 17 % len(scenes)].caption


def _photo(name: str, width: int, height: int) -> bytes:
    from skimage import data

    buffer = io.BytesIO()
    Image.fromarray(getattr(data, name)()).convert("RGB").resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _broken(frames_FHW3: NDArray[np.uint8], seed: int) -> dict[str, NDArray[np.uint8]]:
    """The clip as broken models would make it, by what the check should say."""
    noise = np.random.default_rng(seed)
    return {
        "one_colour": np.broadcast_to(frames_FHW3.mean(axis=(1, 2), keepdims=True).astype(np.uint8), frames_FHW3.shape),
        "still": np.broadcast_to(frames_FHW3[:1], frames_FHW3.shape),
        "flicker": np.stack([noise.permutation(frame.reshape(-1, 3)).reshape(frame.shape) for frame in frames_FHW3]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    main(parser.parse_args().clips)
