"""Scripts that train many networks, with their commands run in this process: starting one takes longer than the run."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def runs_here(tiny_backbone: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called after the script is loaded."""
    turn = threading.Lock()

    def call(command: list[str], threads: int, log: Path | None = None) -> None:
        assert command[1:3] == ["-m", "handmesh"]
        with turn, contextlib.redirect_stdout(io.StringIO()):
            assert importlib.import_module(f"handmesh.cli.commands.{command[3]}").main(command[4:]) == 0

    return lambda: monkeypatch.setattr(sys.modules["scripts.benchmarks._interleave"], "call", call)
