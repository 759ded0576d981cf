"""A request to end is noted whatever runs, raises where that is wanted, and handlers are put back."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading

import pytest

from handmesh.io.runtime import stop_signals
from handmesh.io.runtime.stop_signals import StopSignals

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_request_sets_the_flag_and_a_second_one_raises(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopSignals() as stop, stop.deferred():
        assert not stop.is_requested
        signal.raise_signal(number)
        signal.raise_signal(number)  # the same request, sent to the process and to its group
        assert stop.is_requested
        monkeypatch.setattr(stop_signals, "_SAME_REQUEST_S", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_of_a_loop_a_request_ends_what_runs(number: signal.Signals) -> None:
    with StopSignals() as stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert stop.is_requested


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_request_inside_a_callback_from_c_is_not_lost() -> None:
    """The exception is: Python can only print what a callback of ctypes raises."""
    call = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))
    with StopSignals() as stop:
        call()
        assert stop.is_requested


def test_what_was_ignored_stays_ignored_and_other_threads_hear_nothing() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.is_requested
    finally:
        signal.signal(signal.SIGINT, before)
    entered: list[StopSignals] = []

    def enter() -> None:
        with StopSignals() as other:
            entered.append(other)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(30)
    assert entered and not entered[0].is_requested


def test_importing_sets_no_handler() -> None:
    code = (
        "import signal, handmesh.io.runtime.stop_signals\n"
        "print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"
