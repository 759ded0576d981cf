"""The one exception a user can cause, and how a command turns it into one line and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class HandMeshError(Exception):
    """Something outside the program is not as it must be: a file, a key, a device.

    The message is one line for a person: what was expected, what came, what to do next.
    """


def printable(text: str) -> str:
    r"""The text on one line, with everything that a terminal would obey rather than show written out (``\x1b``)."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


def reason_of(error: BaseException, limit: int = 200) -> str:
    """What another library says, on one line of at most ``limit`` characters: it may quote a whole hostile file."""
    return printable(str(error))[:limit]


class CommandParser(argparse.ArgumentParser):
    """argparse whose complaints about a command line are one line too, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Raise HandMeshError with argparse's message."""
        raise HandMeshError(f"{message}; see: {self.prog} --help")


def run_command(main: Callable[..., int | None], *arguments: object) -> NoReturn:
    """Run a command's ``main(*arguments)`` and leave the process with its exit code.

    0 or main's own code on success, 2 with one line on stderr for a :class:`HandMeshError`, 130 after Ctrl-C.
    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        code = main(*arguments)
    except HandMeshError as error:
        sys.stderr.write("error: " + printable(str(error)) + "\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code or 0)
