"""Milliseconds by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Adds up the wall time of named stages: ``with clock("crop"): ...``."""

    def __init__(self) -> None:
        self.stages_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a block and add it to ``stage``, also when the block raises."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, (time.perf_counter() - start_s) * 1000)

    def add(self, stage: str, duration_ms: float) -> None:
        """Add a duration that was measured elsewhere."""
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + duration_ms
