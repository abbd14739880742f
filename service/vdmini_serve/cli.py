"""The command `vdmini-serve`. Parsing only: `up`, `client`, `api` and `worker` do the work."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from vdmini_serve.contract.lanes import LANES
from vdmini_serve.contract.request import EXAMPLE_PROMPT

EPILOG = f"""\
a first try:
  vdmini-serve up                                          # in one terminal
  vdmini-serve generate --image cat.png -o cat.mp4         # in another
  vdmini-serve generate --image cat.png -o slow.mp4 --variant teacher
  vdmini-serve generate --prompt "{EXAMPLE_PROMPT}" -o circle.mp4
"""

API_KEY = "VDMINI_API_KEY"
"""Environment variable of `generate`."""

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
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 when all went well, 1 when something failed, 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except ValidationError as error:
        wrong = (f"VDMINI_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        return _fail(f"wrong setting in the environment: {'; '.join(wrong)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vdmini-serve",
        description="Serve compressed video diffusion models (VDMinis) beside their uncompressed teachers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_up(commands)
    _add_generate(commands)
    _add_keys(commands)
    _add_capacity(commands)
    api = commands.add_parser("api", help="only the HTTP API; settings from VDMINI_... variables")
    api.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    api.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")
    api.set_defaults(run=_api)
    worker = commands.add_parser("worker", help="only a worker; settings from VDMINI_... variables")
    worker.set_defaults(run=_worker)
    _add_verify(commands)
    text = "whether the worker of this machine lives and consumes; reads VDMINI_HEARTBEAT_FILE"
    healthcheck = commands.add_parser("healthcheck", help=text, description=text + ". Exit code 0 if it does, else 1.")
    healthcheck.add_argument("--ready", action="store_true", help="also ask that it takes jobs now")
    healthcheck.set_defaults(run=_healthcheck)
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"{port} is no port; give 1 to 65535")
    return port


def _add_up(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    up = commands.add_parser(
        "up",
        help="start everything on this machine: Redis, a worker, the API",
        description="Start Redis, a worker and the API on this machine, until Ctrl-C. Nothing is kept afterwards.",
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


def _add_generate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    generate = commands.add_parser(
        "generate",
        help="have a running service make one clip",
        description="Have a running service make one clip from an image or from a sentence, and write the MP4.",
    )
    source = generate.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, metavar="FILE", help="PNG, JPEG or WebP to animate")
    source.add_argument("--prompt", metavar="TEXT", help="sentence that says what the clip shows")
    generate.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="MP4 to write")
    generate.add_argument("--variant", metavar="NAME", help="vdmini (default), teacher, or the name of a model")
    for name, (kind, text) in REQUEST_OPTIONS.items():
        generate.add_argument(f"--{name}", type=kind, metavar="N", help=text)
    text = f"of the service (default: %(default)s); it gets the API key in {API_KEY}"
    generate.add_argument("--url", default="http://127.0.0.1:8000", help=text)
    generate.set_defaults(run=_generate)


def _add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "make, list and remove the API keys that VDMINI_REQUIRE_API_KEY asks for; VDMINI_JOBS_URL says where"
    actions = commands.add_parser("keys", help="API keys", description=text).add_subparsers(
        metavar="ACTION", required=True
    )
    add = actions.add_parser("add", help="make a key and print it; it is stored nowhere")
    add.add_argument("name", help="whose it is")
    add.add_argument("--rate", metavar="RATE", help="POSTs that it may send, such as 60/minute (default: no limit)")
    add.add_argument("--max-active-jobs", type=int, metavar="N", help="jobs at once (default: no limit)")
    add.add_argument("--priority", choices=LANES, default="normal", help="the highest it may ask for (%(default)s)")
    add.set_defaults(run=_keys, action="add")
    actions.add_parser("list", help="all keys").set_defaults(run=_keys, action="list")
    remove = actions.add_parser("remove", help="remove a key")
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

    from vdmini_serve.access_keys import KeyCommandError, KeyRing, table
    from vdmini_serve.contract.settings import Settings

    try:
        with Redis.from_url(Settings().jobs_url.get_secret_value(), decode_responses=True) as redis:
            ring = KeyRing(redis)
            if options.action == "add":
                limits = {name: getattr(options, name) for name in ("rate", "max_active_jobs", "priority")}
                sys.stdout.write(ring.add(options.name, **limits) + "\n")
            elif options.action == "list":
                sys.stdout.write(table(ring.all()) + "\n")
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
    from vdmini_serve.client import GenerateError, Wish, generate, summary

    names = ["variant", *(name.replace("-", "_") for name in REQUEST_OPTIONS)]
    fields = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    wish = Wish(options.image, options.prompt, options.output, fields)
    try:
        job = generate(options.url, wish, api_key=os.environ.get(API_KEY))
    except GenerateError as error:
        return _fail(str(error))
    sys.stdout.write(summary(job, options.output) + "\n")
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


def _fail(message: str) -> int:
    sys.stderr.write(f"vdmini-serve: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
