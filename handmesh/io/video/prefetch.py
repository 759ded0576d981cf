"""An iterator that works ahead in a thread, so that making the next item overlaps with using this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
#: How often a wait looks whether it is still wanted, seconds.
_LOOK_S = 0.1
#: A producer that is blocked in a device cannot be ended; its thread is a daemon and dies with the process.
_JOIN_S = 5.0


class PrefetchIterator(Generic[T]):
    """The items of an iterable, in order, none left out; at most ``depth`` are waiting or in the making.

    The next item is begun only once there is room for it: with ``depth`` 1 a camera is asked for a frame when the one
    before was asked for here, and never has a stale one waiting. An item that is waited for takes no room, so whoever
    is faster than the iterable never holds it up. What the iterable raises is raised here, after the items made before
    it. Iterate once, in one thread; close it when leaving early (or use it as a context manager).
    """

    def __init__(self, items: Iterable[T], depth: int = 1, name: str = "ahead") -> None:
        """Start at once, in a thread.

        Args:
            items: iterated in the thread; what it raises is raised to the caller.
            depth: items waiting or in the making at most.
            name: of the thread.
        """
        self._made: queue.SimpleQueue[tuple[bool, T | BaseException | None]] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._is_asked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(items,), name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> PrefetchIterator[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while (item := self.get(_LOOK_S)) is None:
            pass
        return item

    def get(self, timeout_s: float) -> T | None:
        """The next item, or None when there is none yet; StopIteration at the end, and after :meth:`close`."""
        if self._stop.is_set():
            raise StopIteration
        if not self._is_asked:
            # Before the wait: a hand-over from one thread to the other and back costs a good part of a frame's time.
            self._is_asked = True
            self._room.release()
        try:
            is_item, item = self._made.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._is_asked = False
        if is_item:
            return item  # type: ignore[return-value]
        self.close()
        if isinstance(item, BaseException):
            raise item
        raise StopIteration

    def close(self) -> None:
        """End the thread and the iterable in it; idempotent."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)

    def _work(self, items: Iterable[T]) -> None:
        failure: BaseException | None = None
        iterator = iter(items)
        try:
            while self._has_room():
                try:
                    self._made.put((True, next(iterator)))
                except StopIteration:
                    break
        except BaseException as error:  # noqa: BLE001 - also Ctrl-C's: raised again where the items are taken
            failure = error
        finally:
            # A generator lets go of what it holds in the thread that ran it.
            end = getattr(iterator, "close", None)
            if end is not None:
                end()
            self._made.put((False, failure))

    def _has_room(self) -> bool:
        while not self._stop.is_set():
            if self._room.acquire(timeout=_LOOK_S):
                return not self._stop.is_set()
        return False
