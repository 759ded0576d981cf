"""The comparison with MediaPipe: both sides see the same frames in turns, and ratios are of one round."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scripts.benchmarks import _mediapipe

#: Takes 4 ms a frame as lite and 12 ms as full, and notes the first pixel of what it sees.
_FAKE = """
import time
from types import SimpleNamespace
class Hands:
    def __init__(self, static_image_mode, max_num_hands, model_complexity):
        assert not static_image_mode and max_num_hands == 1
        self.wait_s = (0.004, 0.012)[model_complexity]
    def process(self, image):
        time.sleep(self.wait_s)
        with open({log!r}, "a") as file:
            print(image[0, 0, 0], file=file)
    def close(self): ...
solutions = SimpleNamespace(hands=SimpleNamespace(Hands=Hands))
"""


class FakeTracker:
    max_hands, predictor = 1, SimpleNamespace(engine=SimpleNamespace(name="fake"))

    def run(self, frames: Iterable[np.ndarray]) -> Iterator[Any]:
        return (SimpleNamespace(image=image) for image in frames)


def test_both_sides_see_the_same_frames_and_the_slower_model_is_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mediapipe.py").write_text(_FAKE.format(log=str(tmp_path / "log.txt")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    pictures = [np.full((4, 4, 3), value, np.uint8) for value in range(50)]
    drawn: list[int] = []

    def draw(frame: Any, stats: Any) -> None:
        drawn.append(int(frame.image[0, 0, 0]))

    result = _mediapipe.compare(FakeTracker(), pictures, draw, sys.executable, rounds=2)  # type: ignore[arg-type]
    one_run = [*range(10, 50), *range(50)]
    assert drawn == one_run * 4  # twice a round: overlapped, and each frame on its own
    assert [int(line) for line in (tmp_path / "log.txt").read_text().split()] == one_run * 4
    assert set(result) == {"handmesh", "lite", "full"}
    assert result["lite"]["latency_ms"] >= 4 and result["full"]["latency_ms"] >= 12
    assert result["full"]["times_faster"] > result["lite"]["times_faster"] > 1
    assert "lite" in _mediapipe.table(result)
