"""`vdmini-serve capacity`: how many workers a load needs."""

import argparse
import sys

from vdmini_serve.commands import CommandError

NAME = "capacity"
HELP = "how many workers a load needs"
DESCRIPTION = "How many workers a load needs, so that most jobs start in time; a queueing calculation."
EXAMPLES = """\
{prog} --jobs-per-hour 20000 --seconds-per-job 0.22 --wait 2
{prog} --jobs-per-hour 600 --seconds-per-job 30 --variation 0.2 --wait 60 --share 0.99 --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--jobs-per-hour", type=float, required=True, metavar="N", help="in the busiest hour")
    text = "what a worker takes for one, from `timings` of your jobs"
    parser.add_argument("--seconds-per-job", type=float, required=True, metavar="S", help=text)
    text = "standard deviation over mean of those seconds: 0 for jobs that are all alike (default: %(default)s)"
    parser.add_argument("--variation", type=float, default=1.0, metavar="V", help=text)
    text = "seconds within which most jobs shall start (default: %(default)s)"
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help=text)
    text = "how many of them, 0 to 1 (default: %(default)s)"
    parser.add_argument("--share", type=float, default=0.95, metavar="Q", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
    from vdmini_serve.capacity import CapacityError, Load, report

    try:
        load = Load(options.jobs_per_hour, options.seconds_per_job, options.variation)
        text = report(load, wait_seconds=options.wait, share=options.share, as_json=options.json)
    except CapacityError as error:
        raise CommandError(str(error)) from error
    sys.stdout.write(text + "\n")
    return 0
