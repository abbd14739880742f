"""Where a command listens."""

import argparse


def add_address(parser: argparse.ArgumentParser) -> None:
    """Declare `--host` and `--port`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="port to listen on (default: %(default)s)")


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"{port} is no port; give 1 to 65535")
    return port
