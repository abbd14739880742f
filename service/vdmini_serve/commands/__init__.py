"""The commands of `vdmini-serve`, one module each: `add` declares the arguments, `run` carries it out.

What a command needs it imports when it runs, so that help is instant and each image works without the others' packages.
"""


class CommandError(Exception):
    """A command could not do its work; the message is for whoever typed it."""
