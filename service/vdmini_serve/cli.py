"""The command `vdmini-serve`. Parsing only: `up`, `generate`, `api` and `worker` do the work."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from vdmini.command_line import Parser, add_completion, add_version, completion_script
from vdmini_serve.contract.lanes import LANES
from vdmini_serve.contract.request import EXAMPLE_PROMPT

EXAMPLES = f"""\
{{prog}} up                                          # in one terminal
{{prog}} generate --image cat.png -o cat.mp4         # in another
{{prog}} generate --image cat.png -o slow.mp4 --variant teacher
{{prog}} generate --prompt "{EXAMPLE_PROMPT}" -o circle.mp4
"""
UP_EXAMPLES = """\
{prog}
{prog} --artifact compression/artifacts/small-i2v --artifact compression/teachers/small-i2v --port 8080
"""
GENERATE_EXAMPLES = f"""\
{{prog}} --image cat.png -o cat.mp4 --motion-bucket-id 255
{{prog}} --prompt "{EXAMPLE_PROMPT}" -o circle.mp4 --seed 7
{{prog}} --prompt "{EXAMPLE_PROMPT}" -o circle.mp4 --quality draft --json
{{prog}} --image cat.png -o cat.mp4 --url https://video.example.org   # with VDMINI_API_KEY in the environment
"""
API_EXAMPLES = """\
{prog} --host 0.0.0.0 --port 8000   # after: export VDMINI_BROKER_URL=redis://redis:6379/0
"""
WORKER_EXAMPLES = """\
{prog}   # after: export VDMINI_BROKER_URL=redis://redis:6379/0 VDMINI_ARTIFACTS=/models/small-i2v
"""
KEYS_EXAMPLES = """\
{prog} add "the shop" --rate 60/minute --max-active-jobs 4
{prog} list
{prog} remove 1f0c9a
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 when all went well, 1 when something failed, 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return _reader_left()
    except ValidationError as error:
        wrong = (f"VDMINI_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        return _fail(f"wrong setting in the environment: {'; '.join(wrong)}")


def make_parser() -> Parser:
    """The parser of the whole command."""
    parser = Parser(
        prog="vdmini-serve",
        description="Serve compressed video diffusion models (VDMinis) beside their uncompressed teachers.",
        examples=EXAMPLES,
    )
    add_version(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_up(commands)
    _add_generate(commands)
    _add_keys(commands)
    _add_capacity(commands)
    text = "Only the HTTP API, as many as you like beside one Redis; settings come from VDMINI_... variables."
    api = commands.add_parser("api", help="only the HTTP API", description=text, examples=API_EXAMPLES)
    api.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    api.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    api.set_defaults(run=_api)
    text = "Only a worker, one for each GPU; settings come from VDMINI_... variables. SIGTERM lets its job finish."
    worker = commands.add_parser("worker", help="only a worker", description=text, examples=WORKER_EXAMPLES)
    worker.set_defaults(run=_worker)
    _add_verify(commands)
    _add_healthcheck(commands)
    add_completion(commands).set_defaults(run=_completion)
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"{port} is no port; give 1 to 65535")
    return port


def _add_up(commands: "argparse._SubParsersAction[Parser]") -> None:
    up = commands.add_parser(
        "up",
        help="start everything on this machine: Redis, a worker, the API",
        description="Start Redis, a worker and the API on this machine, until Ctrl-C. Nothing is kept afterwards.",
        examples=UP_EXAMPLES,
    )
    up.add_argument(
        "--artifact",
        dest="artifacts",
        metavar="DIR",
        type=Path,
        action="append",
        help="folder of a model to serve; repeat it for more. Default: VDMINI_ARTIFACTS, else the small models of the "
        "repository with their teachers",
    )
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    up.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    up.set_defaults(run=_up)


def _add_generate(commands: "argparse._SubParsersAction[Parser]") -> None:
    generate = commands.add_parser(
        "generate",
        help="have a running service make one clip",
        description="Have a running service make one clip from an image or from a sentence, and write the MP4. Ctrl-C "
        "cancels.",
        examples=GENERATE_EXAMPLES,
    )
    source = generate.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, metavar="FILE", help="PNG, JPEG or WebP to animate")
    source.add_argument("--prompt", metavar="TEXT", help="sentence that says what the clip shows")
    generate.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="MP4 to write")
    generate.add_argument("--variant", metavar="NAME", help="vdmini (default), teacher, or the name of a model")
    for name, (kind, text) in REQUEST_OPTIONS.items():
        generate.add_argument(f"--{name}", type=kind, metavar="N", help=text)
    for name, (allowed, text) in CHOICES.items():
        generate.add_argument(f"--{name}", choices=allowed, help=text)
    generate.add_argument("--json", action="store_true", help="print the finished job as JSON")
    text = "of the service (default: %(default)s); it gets the API key in VDMINI_API_KEY"
    generate.add_argument("--url", default="http://127.0.0.1:8000", help=text)
    generate.set_defaults(run=_generate)


def _add_keys(commands: "argparse._SubParsersAction[Parser]") -> None:
    text = "Make, list and remove the API keys that VDMINI_REQUIRE_API_KEY asks for; VDMINI_JOBS_URL says where."
    keys = commands.add_parser("keys", help="API keys", description=text, examples=KEYS_EXAMPLES)
    actions = keys.add_subparsers(metavar="ACTION", required=True)
    text = "make a key and print it; it is stored nowhere"
    add = actions.add_parser("add", help=text, description=text, examples='{prog} "the shop" --rate 60/minute')
    add.add_argument("name", help="whose it is")
    add.add_argument("--rate", metavar="RATE", help="POSTs that it may send, such as 60/minute (default: no limit)")
    add.add_argument("--max-active-jobs", type=int, metavar="N", help="jobs at once (default: no limit)")
    add.add_argument("--priority", choices=LANES, default="normal", help="the highest it may ask for (%(default)s)")
    add.set_defaults(run=_keys, action="add")
    listing = actions.add_parser("list", help="all keys", description="All keys, the oldest first.", examples="{prog}")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_keys, action="list")
    text = "remove a key; its jobs go on"
    remove = actions.add_parser("remove", help=text, description=text, examples="{prog} 1f0c9a")
    remove.add_argument("id", help="as `list` tells it")
    remove.set_defaults(run=_keys, action="remove")


def _add_capacity(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    capacity = commands.add_parser(
        "capacity",
        help="how many workers a load needs",
        description="How many workers a load needs, so that most jobs start in time; a queueing calculation.",
        epilog="example: vdmini-serve capacity --jobs-per-hour 20000 --seconds-per-job 0.3 --wait 2",
    )
    capacity.add_argument("--jobs-per-hour", type=float, required=True, metavar="N", help="in the busiest hour")
    text = "what a worker takes for one, from `timings` of your jobs"
    capacity.add_argument("--seconds-per-job", type=float, required=True, metavar="S", help=text)
    text = "standard deviation over mean of those seconds: 0 for jobs that are all alike (default: %(default)s)"
    capacity.add_argument("--variation", type=float, default=1.0, metavar="V", help=text)
    text = "seconds within which most jobs shall start (default: %(default)s)"
    capacity.add_argument("--wait", type=float, default=10.0, metavar="S", help=text)
    text = "how many of them, 0 to 1 (default: %(default)s)"
    capacity.add_argument("--share", type=float, default=0.95, metavar="Q", help=text)
    capacity.add_argument("--json", action="store_true", help="print JSON")
    capacity.set_defaults(run=_capacity)


def _capacity(options: argparse.Namespace) -> int:
    from vdmini_serve.capacity import CapacityError, Load, report

    try:
        load = Load(options.jobs_per_hour, options.seconds_per_job, options.variation)
        text = report(load, wait_seconds=options.wait, share=options.share, as_json=options.json)
    except CapacityError as error:
        return _fail(str(error))
    sys.stdout.write(text + "\n")
    return 0


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verify = commands.add_parser(
        "verify",
        help="check artifacts without loading them",
        description="Check every file of artifacts against its hash, without loading them. Exit code 1 for a bad one.",
    )
    text = "folder of an artifact (default: what VDMINI_ARTIFACTS and VDMINI_ARTIFACTS_DIR name)"
    verify.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", help=text)
    verify.set_defaults(run=_verify)


def _keys(options: argparse.Namespace) -> int:
    from redis import Redis
    from redis.exceptions import RedisError

    from vdmini_serve.access_keys import KeyCommandError, KeyRing, as_json, table
    from vdmini_serve.contract.settings import Settings

    try:
        with Redis.from_url(Settings().jobs_url.get_secret_value(), decode_responses=True) as redis:
            ring = KeyRing(redis)
            if options.action == "add":
                limits = {name: getattr(options, name) for name in ("rate", "max_active_jobs", "priority")}
                sys.stdout.write(ring.add(options.name, **limits) + "\n")
            elif options.action == "list":
                sys.stdout.write((as_json if options.json else table)(ring.all()) + "\n")
            else:
                ring.remove(options.id)
    except KeyCommandError as error:
        return _fail(str(error))
    except RedisError as error:
        return _fail(f"the job store cannot be reached ({type(error).__name__}); set VDMINI_JOBS_URL")
    return 0


def _up(options: argparse.Namespace) -> int:
    from vdmini.artifact import ArtifactError  # the API image has no model package
    from vdmini_serve.embedded import StartError
    from vdmini_serve.up import default_artifacts, up

    from_environment = [Path(part) for part in os.environ.get("VDMINI_ARTIFACTS", "").split(os.pathsep) if part]
    artifacts = options.artifacts or from_environment or default_artifacts()
    try:
        return up(artifacts, host=options.host, port=options.port)
    except (StartError, ArtifactError) as error:
        return _fail(str(error))


def _generate(options: argparse.Namespace) -> int:
    from vdmini_serve.generate import GenerateError, Wish, generate, summary

    names = ["variant", *(name.replace("-", "_") for name in (*REQUEST_OPTIONS, *CHOICES))]
    fields = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    wish = Wish(options.image, options.prompt, options.output, fields)
    try:
        job = generate(options.url, wish)
    except GenerateError as error:
        return _fail(str(error))
    sys.stdout.write((job.model_dump_json(indent=2) if options.json else summary(job, options.output)) + "\n")
    return 0


def _completion(options: argparse.Namespace) -> int:
    try:
        sys.stdout.write(completion_script(make_parser(), options.shell) + "\n")
    except ValueError as error:
        return _fail(str(error))
    return 0


def _api(options: argparse.Namespace) -> int:
    import uvicorn  # the worker image has none

    from vdmini_serve.api.app import create_app
    from vdmini_serve.contract.logs import configure
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.contract.tracing import TracingError
    from vdmini_serve.results.store import StoreChoiceError, open_store

    settings = Settings()
    configure(settings)
    try:
        open_store(settings)
        app = create_app(settings)
    except (StoreChoiceError, TracingError) as error:
        return _fail(str(error))
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
    return 0


def _worker(_options: argparse.Namespace) -> int:
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"  # read when billiard is imported: SIGTERM then means a soft shutdown
    from vdmini.artifact import ArtifactError  # the API image has no model package
    from vdmini_serve.contract.logs import configure
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.app import main as work
    from vdmini_serve.worker.heartbeat import NoHeartbeatError
    from vdmini_serve.worker.models import RuntimeChoiceError

    settings = Settings()
    configure(settings)
    try:
        return work(settings)
    except (ArtifactError, NoHeartbeatError, RuntimeChoiceError) as error:
        return _fail(str(error))


def _verify(options: argparse.Namespace) -> int:
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.verification import configured, verify_all

    folders = options.folders or configured(Settings())
    if not folders:
        return _fail("no artifact to verify; give a FOLDER, or put one into VDMINI_ARTIFACTS_DIR")
    damaged = 0
    for folder, text, whole in verify_all(folders):
        (sys.stdout if whole else sys.stderr).write(f"{folder.name}: {'whole' if whole else 'REFUSED'}: {text}\n")
        damaged += not whole
    return _fail(f"{damaged} of {len(folders)} artifacts are refused") if damaged else 0


def _healthcheck(options: argparse.Namespace) -> int:
    from vdmini_serve.contract.settings import Settings
    from vdmini_serve.worker.health import UnhealthyError, check
    from vdmini_serve.worker.heartbeat import NoHeartbeatError

    try:
        beat = check(Settings(), ready=options.ready)
    except (UnhealthyError, NoHeartbeatError) as error:
        return _fail(f"the worker is {'not ready' if options.ready else 'not well'}: {error}")
    sys.stdout.write(f"{beat.state}\n")
    return 0


def _reader_left() -> int:
    """Whoever read our output has ended, as `head` does; the interpreter must not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"vdmini-serve: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
