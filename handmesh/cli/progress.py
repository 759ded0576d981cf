"""How far a long command is: a bar with the time left on a terminal, nothing in a log file or a pipe."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm


class Progress:
    """A bar on stderr; use as a context manager."""

    def __init__(self, what: str, total: int = 0, is_wanted: bool = True, unit: str = "frame") -> None:
        """A bar for a piece of work.

        Args:
            what: what is worked on, a few words.
            total: how many steps there are; 0 for unknown, then only a count and a rate are shown.
            is_wanted: False for no bar at all.
            unit: what one step is called.
        """
        is_shown = is_wanted and sys.stderr.isatty()
        self._bar = tqdm(
            total=total or None, desc=what, unit=unit, file=sys.stderr, leave=False, disable=not is_shown,
            dynamic_ncols=True,
        )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def advance(self, steps: int = 1) -> None:
        """So many steps more are done; more than the total (an estimate) does no harm."""
        if self._bar.total is not None and self._bar.n + steps > self._bar.total:
            self._bar.total = self._bar.n + steps
        self._bar.update(steps)

    def describe(self, what: str) -> None:
        """Another text before the bar."""
        self._bar.set_description(what)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; idempotent."""
        self._bar.close()


def say(line: str) -> None:
    """A line for the user on stderr, above a bar of progress and not through it."""
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
