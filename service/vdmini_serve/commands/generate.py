"""`vdmini-serve generate`: one clip of a running service."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from vdmini_serve.commands import CommandError
from vdmini_serve.contract.lanes import LANES
from vdmini_serve.contract.request import EXAMPLE_PROMPT

NAME = "generate"
HELP = "have a running service make one clip"
DESCRIPTION = (
    "Have a running service make one clip from an image or from a sentence, and write the MP4. Ctrl-C cancels."
)
EXAMPLES = f"""\
{{prog}} --image cat.png -o cat.mp4 --motion-bucket-id 255
{{prog}} --prompt "{EXAMPLE_PROMPT}" -o circle.mp4 --seed 7
{{prog}} --prompt "{EXAMPLE_PROMPT}" -o circle.mp4 --quality draft --json
{{prog}} --image cat.png -o cat.mp4 --url https://video.example.org   # with VDMINI_API_KEY in the environment
"""

REQUEST_OPTIONS: dict[str, tuple[Callable[[str], object], str]] = {
    "seed": (int, "give the same number again to get the same clip (default: drawn)"),
    "width": (int, "pixels"),
    "height": (int, "pixels"),
    "num-frames": (int, "length of the clip in frames"),
    "fps": (int, "frames per second"),
    "num-inference-steps": (int, "denoising steps"),
    "guidance-scale": (float, "1 means no guidance"),
    "motion-bucket-id": (int, "--image only: amount of motion, 0..255"),
    "noise-aug-strength": (float, "--image only: noise added to the image, 0..1"),
    "max-latency-seconds": (float, "the best model that was measured to take no longer"),
    "max-queue-seconds": (float, "longest wait for a start"),
}
CHOICES = {
    "quality": (("draft", "balanced", "reference"), "let the service choose the model and its steps"),
    "priority": (LANES, "high starts before normal, normal before low (default: normal)"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, metavar="FILE", help="PNG, JPEG or WebP to animate")
    source.add_argument("--prompt", metavar="TEXT", help="sentence that says what the clip shows")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="MP4 to write")
    parser.add_argument("--variant", metavar="NAME", help="vdmini (default), teacher, or the name of a model")
    for name, (kind, text) in REQUEST_OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=text)
    for name, (allowed, text) in CHOICES.items():
        parser.add_argument(f"--{name}", choices=allowed, help=text)
    parser.add_argument("--json", action="store_true", help="print the finished job as JSON")
    text = "of the service (default: %(default)s); it gets the API key in VDMINI_API_KEY"
    parser.add_argument("--url", default="http://127.0.0.1:8000", help=text)


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from vdmini_serve.generate import GenerateError, Wish, generate, summary

    names = ["variant", *(name.replace("-", "_") for name in (*REQUEST_OPTIONS, *CHOICES))]
    fields = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        job = generate(options.url, Wish(options.image, options.prompt, options.output, fields))
    except GenerateError as error:
        raise CommandError(str(error)) from error
    sys.stdout.write((job.model_dump_json(indent=2) if options.json else summary(job, options.output)) + "\n")
    return 0
