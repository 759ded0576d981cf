"""Work that is the same for each of many items, in a thread for each core; libraries that compute let others run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from handmesh.io.runtime.cpu_count import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items waiting for each thread before the first of them is asked for: enough that none waits, few enough to hold.
_AHEAD = 3


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int = 0) -> Iterator[Result]:
    """``map``, some items at a time; results in the items' order.

    An exception of the function's comes where its result would; items that were not begun then never are.

    Args:
        function: may run in several threads at a time.
        items: taken a few ahead.
        threads: 0 for as many as cores may be used; with one the caller's own does the work.
    """
    threads = threads or available_cores()
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "worker") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class PerThread(Generic[Result]):
    """A thing that each thread has one of, made when it first asks: a network that computes one picture at a time."""

    def __init__(self, make: Callable[[], Result]) -> None:
        self._make, self._own = make, threading.local()

    def __call__(self) -> Result:
        """This thread's own."""
        if not hasattr(self._own, "value"):
            self._own.value = self._make()
        return self._own.value  # type: ignore[no-any-return]
