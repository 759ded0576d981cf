"""Work in several threads: the order of the items, errors in their place, one thing for each thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from handmesh.io.runtime.worker_threads import PerThread, map_in_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_items_order(threads: int) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 7 == 0 else 0)
        return number * number

    assert list(map_in_threads(slow_first, iter(range(40)), threads)) == [n * n for n in range(40)]
    assert list(map_in_threads(slow_first, [], threads)) == []


def test_several_run_at_a_time_and_few_are_begun_ahead() -> None:
    meeting, taken = threading.Barrier(2), []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def meet(number: int) -> int:
        if number < 2:
            meeting.wait(timeout=30)  # neither thread gets on without the other
        return number

    results = map_in_threads(meet, items(), threads=2)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) < 20
    results.close()
    assert len(taken) < 20


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_in_its_place_and_ends_the_work(threads: int) -> None:
    done = []

    def work(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        done.append(number)
        return number

    results = map_in_threads(work, range(1000), threads)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(done) < 50


def test_each_thread_has_one_of_its_own() -> None:
    made, meeting = PerThread(object), threading.Barrier(3)

    def own(_: int) -> tuple[int, int]:
        first = made()
        meeting.wait(timeout=30)  # three threads are at work, none twice
        return id(first), id(made())

    found = list(map_in_threads(own, range(3), threads=3))
    assert all(first == again for first, again in found) and len({first for first, _ in found}) == 3
    assert made() is made()
