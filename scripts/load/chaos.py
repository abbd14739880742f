"""Jobs from many clients while workers, their children, the API and Redis are killed; then an audit of all of it.

python scripts/load/chaos.py --jobs 1000 --kills 30 [--seconds 1800] [--seed 0] [--output FILE.json]

Ends with 1 when anything was lost, doubled or wrong.
"""

import argparse
import logging
import random
import sys
import time
from pathlib import Path
from typing import Any

from audit import audit
from clients import Tally, start_clients
from fleet import Fleet, running
from killer import Killer
from record import quantiles, write

RECOVERY_SECONDS = 15.0
"""Within this time a lost job must run again."""


def main(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with running(apis=options.apis, workers=options.workers, keep_logs=options.logs) as fleet:
        started = time.monotonic()
        tally, killer = unleash(fleet, options)
        found: dict[str, Any] = {"jobs": options.jobs, "clients": options.clients, "seed": options.seed}
        found |= {"seconds": round(time.monotonic() - started, 1), "kills": len(killer.deaths), "killed": killer.deaths}
        found |= {"retries": tally.retries, "answers_of_4xx_and_5xx": tally.answers}
        found |= audit(fleet, tally.accepted) | {"recovery_seconds": recovery(killer)}
    found["defects"] = [*tally.errors, *found["defects"]]
    write(found, options.output)
    return 1 if found["defects"] else 0


def unleash(fleet: Fleet, options: argparse.Namespace) -> tuple[Tally, Killer]:
    """Clients and killer at the same time, until all jobs are done or the time is over."""
    tally = Tally()
    killer = Killer(fleet, random.Random(options.seed))  # noqa: S311  # not for secrets
    urls = tuple(fleet.apis)
    threads, alive = start_clients(urls, clients=options.clients, jobs=options.jobs, seed=options.seed, tally=tally)
    deadline = time.monotonic() + options.seconds

    def going_on() -> bool:
        for name in fleet.restart_the_dead():
            killer.deaths.append(f"by itself: {name}")
        return alive() and time.monotonic() < deadline

    killer.run(options.kills, share_done=lambda: tally.finished / options.jobs, going_on=going_on)
    while going_on():
        time.sleep(0.1)
    if alive():
        tally.errors.append(
            f"{sum(thread.is_alive() for thread in threads)} clients still wait after {options.seconds} s"
        )
    for watcher in killer.watchers:
        watcher.join(timeout=30)
    return tally, killer


def recovery(killer: Killer) -> dict[str, Any]:
    """How long jobs stayed lost whose worker was killed.

    In the calm another worker was ready and nothing else was killed meanwhile; otherwise a worker must load its models
    first. A job that is taken back waits behind those that are queued.
    """
    found = [each for each in killer.recoveries if each.seconds is not None]
    calm = [each.seconds for each in found if killer.calm(each)]
    return {
        "in_the_calm": quantiles(calm, digits=2) | {"later_than_15": sum(each > RECOVERY_SECONDS for each in calm)},
        "all": quantiles([each.seconds for each in found], digits=2),
        "never": len(killer.recoveries) - len(found),
        "each": [(each.kind, "calm" if killer.calm(each) else "", round(each.seconds, 2)) for each in found],
    }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--jobs", type=int, default=100, help="jobs in all (default: %(default)s)")
    found.add_argument("--kills", type=int, default=6, help="SIGKILLs, spread over the run (default: %(default)s)")
    found.add_argument("--clients", type=int, default=16, help="threads that submit and poll (default: %(default)s)")
    found.add_argument("--apis", type=int, default=2, help="replicas of the API (default: %(default)s)")
    found.add_argument("--workers", type=int, default=2, help="workers (default: %(default)s)")
    found.add_argument("--seconds", type=float, default=1800, help="give up after this time (default: %(default)s)")
    found.add_argument("--seed", type=int, default=0, help="of what is killed when and of what is asked for")
    found.add_argument("--logs", type=Path, help="folder that keeps the logs of all processes")
    found.add_argument("--output", type=Path, help="JSON file to write")
    return found


if __name__ == "__main__":
    sys.exit(main(parser().parse_args()))
