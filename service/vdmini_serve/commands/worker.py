"""`vdmini-serve worker`: only a worker."""

import argparse
import os

from vdmini_serve.commands import CommandError

NAME = "worker"
HELP = "only a worker"
DESCRIPTION = "Only a worker, one for each GPU; settings come from VDMINI_... variables. SIGTERM lets its job finish."
EXAMPLES = """\
{prog}   # after: export VDMINI_BROKER_URL=redis://redis:6379/0 VDMINI_ARTIFACTS=/models/small-i2v
"""


def add(_: argparse.ArgumentParser) -> None:
    """It has no arguments."""


def run(_: argparse.Namespace) -> int:
    """Carry it out."""
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"  # read when billiard is imported: SIGTERM then means a soft shutdown
    from vdmini.artifact import ArtifactError  # the API image cannot load models
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
        raise CommandError(str(error)) from error
