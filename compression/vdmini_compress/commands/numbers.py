"""Numbers on a command line: what argparse calls to read them."""

import argparse
from collections.abc import Callable

LEAST_CLIPS = 4
"""Fewer held-out clips say nothing of a model."""


def at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers that must not be smaller than `least`."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; give {least} or more")
        return value

    number.__name__ = "whole number"
    return number
