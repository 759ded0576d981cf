"""Laws of working ahead: every item once and in order, no farther than said, errors in their place, no thread left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from handmesh.io.video.prefetch import PrefetchIterator


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "test ahead"]


def test_every_item_comes_once_and_in_order() -> None:
    assert list(PrefetchIterator(range(100), 3, "test ahead")) == list(range(100))
    assert not threads()


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_never_farther_ahead_than_said(depth: int) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for index in range(10):
            begun.append(index)
            yield index

    for index in PrefetchIterator(items(), depth, "test ahead"):
        time.sleep(0.01)
        # The items taken, and then those that wait or are being made.
        assert len(begun) <= index + 1 + depth
    assert len(begun) == 10


def test_an_item_that_is_waited_for_takes_no_room() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def items() -> Iterator[int]:
        for index in range(5):
            begun.append(index)
            gate.wait(30)
            yield index

    with PrefetchIterator(items(), 1, "test ahead") as ahead:
        assert ahead.get(0.01) is None and ahead.get(0.01) is None
        gate.set()
        end_s = time.monotonic() + 30
        while len(begun) < 2 and time.monotonic() < end_s:
            time.sleep(0.001)
        time.sleep(0.02)
        # The next one was begun before the first was taken, and no other: asking twice for one item gives room once.
        assert begun == [0, 1]
        assert list(ahead) == [0, 1, 2, 3, 4]


def test_making_overlaps_with_using() -> None:
    def items() -> Iterator[int]:
        for index in range(10):
            time.sleep(0.02)
            yield index

    start_s = time.perf_counter()
    for _ in PrefetchIterator(items(), 1, "test ahead"):
        time.sleep(0.02)
    assert time.perf_counter() - start_s < 0.35  # one after the other it is 0.4


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_comes_after_the_items_before_it(kind: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2, 3)
        raise kind("broken")

    seen = []
    with pytest.raises(kind, match="broken"):
        for item in PrefetchIterator(items(), 2, "test ahead"):
            seen.append(item)
    assert seen == [1, 2, 3] and not threads()


def test_leaving_early_ends_the_thread_and_the_iterable() -> None:
    ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            ended.set()

    with PrefetchIterator(items(), 1, "test ahead") as ahead:
        assert next(ahead) == 0
    assert ended.is_set() and not threads()
    assert list(ahead) == []
    ahead.close()


def test_a_wait_gives_up_in_time_and_goes_on_later() -> None:
    gate = threading.Event()

    def items() -> Iterator[int]:
        gate.wait(30)
        yield 7

    with PrefetchIterator(items(), 1, "test ahead") as ahead:
        assert ahead.get(0.01) is None
        gate.set()
        assert next(ahead) == 7
        with pytest.raises(StopIteration):
            ahead.get(1.0)
