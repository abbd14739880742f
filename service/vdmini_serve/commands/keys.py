"""`vdmini-serve keys`: API keys."""

import argparse
import sys
from typing import TYPE_CHECKING

from vdmini_serve.commands import CommandError
from vdmini_serve.contract.lanes import LANES

if TYPE_CHECKING:
    from vdmini_serve.access_keys import KeyRing

NAME = "keys"
HELP = "API keys"
DESCRIPTION = "Make, list and remove the API keys that VDMINI_REQUIRE_API_KEY asks for; VDMINI_JOBS_URL says where."
EXAMPLES = """\
{prog} add "the shop" --rate 60/minute --max-active-jobs 4
{prog} list
{prog} remove 1f0c9a
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "make a key and print it; it is stored nowhere"
    making = actions.add_parser("add", help=text, description=text, examples='{prog} "the shop" --rate 60/minute')
    making.add_argument("name", help="whose it is")
    text = "POSTs that it may send, such as 60/minute (default: no limit)"
    making.add_argument("--rate", metavar="RATE", help=text)
    making.add_argument("--max-active-jobs", type=int, metavar="N", help="jobs at once (default: no limit)")
    text = "the highest it may ask for (%(default)s)"
    making.add_argument("--priority", choices=LANES, default="normal", help=text)
    making.set_defaults(act=_add)
    listing = actions.add_parser("list", help="all keys", description="All keys, the oldest first.", examples="{prog}")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(act=_list)
    text = "remove a key; its jobs go on"
    removing = actions.add_parser("remove", help=text, description=text, examples="{prog} 1f0c9a")
    removing.add_argument("id", help="as `list` tells it")
    removing.set_defaults(act=_remove)


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from redis import Redis
    from redis.exceptions import RedisError

    from vdmini_serve.access_keys import KeyCommandError, KeyRing
    from vdmini_serve.contract.settings import Settings

    try:
        with Redis.from_url(Settings().jobs_url.get_secret_value(), decode_responses=True) as redis:
            options.act(KeyRing(redis), options)
    except KeyCommandError as error:
        raise CommandError(str(error)) from error
    except RedisError as error:
        text = f"the job store cannot be reached ({type(error).__name__}); set VDMINI_JOBS_URL"
        raise CommandError(text) from error
    return 0


def _add(ring: "KeyRing", options: argparse.Namespace) -> None:
    limits = {name: getattr(options, name) for name in ("rate", "max_active_jobs", "priority")}
    sys.stdout.write(ring.add(options.name, **limits) + "\n")


def _list(ring: "KeyRing", options: argparse.Namespace) -> None:
    from vdmini_serve.access_keys import as_json, table

    sys.stdout.write((as_json if options.json else table)(ring.all()) + "\n")


def _remove(ring: "KeyRing", options: argparse.Namespace) -> None:
    ring.remove(options.id)
