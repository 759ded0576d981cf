"""The one exception a user can cause, and how a command turns it into one line and exit code 2."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

#: Of a command's error line.
_MOST_LETTERS = 1000


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


def _shortened(line: str) -> str:
    """The line, or its beginning and its end where the user's own words make it endless."""
    return line if len(line) <= _MOST_LETTERS else f"{line[: _MOST_LETTERS - 300]} ... {line[-290:]}"


class CommandParser(argparse.ArgumentParser):
    """argparse whose complaints about a command line are one line too, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Raise HandMeshError with argparse's message."""
        raise HandMeshError(f"{message}; see: {self.prog} --help")


def run_command(main: Callable[..., int | None], *arguments: object) -> NoReturn:
    """Run a command's ``main(*arguments)`` and leave the process with its exit code.

    0 or main's own code on success, 2 with one line on stderr for a :class:`HandMeshError` or for a name that is
    longer than the system allows, 130 after Ctrl-C. Anything else is a fault of ours and keeps its traceback.
    """
    try:
        code = main(*arguments)
    except HandMeshError as error:
        sys.stderr.write("error: " + _shortened(printable(str(error))) + "\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # Wherever a name from outside meets the system: looking whether such a file exists raises already.
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = printable(str(error.filename))
        sys.stderr.write(
            f"error: expected the name of a file or folder, got {name[:60]!r}... of {len(name)} letters, which is "
            "longer than the system allows; give a shorter one\n"
        )
        sys.exit(2)
    sys.exit(code or 0)
