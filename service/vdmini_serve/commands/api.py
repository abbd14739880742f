"""`vdmini-serve api`: only the HTTP API."""

import argparse

from vdmini_serve.commands import CommandError
from vdmini_serve.commands.address import add_address

NAME = "api"
HELP = "only the HTTP API"
DESCRIPTION = "Only the HTTP API, as many as you like beside one Redis; settings come from VDMINI_... variables."
EXAMPLES = """\
{prog} --host 0.0.0.0 --port 8000   # after: export VDMINI_BROKER_URL=redis://redis:6379/0
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_address(parser)


def run(options: argparse.Namespace) -> int:
    """Carry it out."""
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
        raise CommandError(str(error)) from error
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
