"""Ctrl-C and SIGTERM as a flag that loops read, so that no request to end is lost and none comes at a bad moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

#: `timeout` sends a signal to the process and to its group: so soon after the first it is the same request.
_SAME_REQUEST_S = 1.0


class StopSignals:
    """Notes a request to end; use as a context manager in the main thread (elsewhere it never hears one).

    An exception that a signal handler raises can be lost: it vanishes where a C library calls back into Python, as
    numba and ctypes do. The flag stays. Outside of :meth:`deferred` the handler raises KeyboardInterrupt as well, so
    that long calls (loading a network) end at once; inside, the loop is to look at :attr:`is_requested`, and only a
    second request raises.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._requested_s = 0.0
        self._is_deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A program started in the background with Ctrl-C ignored goes on ignoring it.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While the block runs the first request only sets the flag."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        is_again = self.is_requested and now_s - self._requested_s > _SAME_REQUEST_S
        if not self.is_requested:
            self.is_requested, self._requested_s = True, now_s
        if is_again or not self._is_deferred:
            raise KeyboardInterrupt
