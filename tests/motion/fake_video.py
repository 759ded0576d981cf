"""``handmesh video`` with a stand-in for the network, and with an end like a power cut's: run by a test as a program.

python fake_video.py KILL_AT WORDS...    KILL_AT: the frame, counted over all clips, after which it dies; 0: never
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from handmesh.cli.commands import video
from handmesh.errors import run_command
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.inference.tracking.tracker import Frame
from handmesh.mano.arrays import load_mano
from handmesh.mano.hand_model import HandModel


def load_conftest() -> Any:
    spec = importlib.util.spec_from_file_location("hands_in_motion", Path(__file__).with_name("conftest.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PictureTracker:
    """Gives hands that follow from the pictures so far, so that a frame left out or taken twice shows in all later
    numbers; the state is what the pictures came to."""

    smoothing = True

    def __init__(self, model: HandModel, kill_at: int = 0) -> None:
        self.moving_hand = load_conftest().moving_hand
        self.kill_at, self.seen, self.sum = kill_at, 0, 0.0
        self.asked: list[str] = []
        self.predictor = SimpleNamespace(engine=SimpleNamespace(name="fake engine"), model=model, transfer=None)

    def state(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def run(self, source: Any, skip: int = 0, state: dict[str, Any] | None = None) -> Iterator[Frame]:
        self.sum = state["sum"] if state else 0.0
        for index, item in enumerate(source):
            if index < skip:
                continue
            self.sum += float(item.image.mean()) / 255
            hands = [
                self.moving_hand(self.predictor.model, item.timestamp_s + self.sum, side, track)
                for track, side in enumerate((True, False))
            ]
            self.seen += 1
            self.asked.append(f"{source.description} {index}")
            K = intrinsics_from_fov(640, 480)
            yield Frame(item.timestamp_s, item.image, hands, [0, 1], {"network": 2.0}, "", 0.0, np.asarray(K))
            if self.seen == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tracker = PictureTracker(HandModel(load_mano("open")), int(sys.argv[1]))
    video.load_tracker = lambda args, smoothing: tracker  # type: ignore[assignment,return-value]
    run_command(video.main, sys.argv[2:])
