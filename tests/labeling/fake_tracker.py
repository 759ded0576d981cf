"""Stand-ins for the network that a test's workers load, in processes of their own."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handmesh.mano.arrays import load_mano
from handmesh.mano.hand_model import HandModel

_FAKE_VIDEO = Path(__file__).resolve().parents[1] / "motion" / "fake_video.py"


def make_tracker(kill_list: str = "") -> Any:
    """A PictureTracker; ``kill_list`` is a folder with a file for each death to be died, named after the source."""
    spec = importlib.util.spec_from_file_location("fake_video", _FAKE_VIDEO)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class MortalTracker(module.PictureTracker):  # type: ignore[misc, name-defined]
        def run(self, source: Any, skip: int = 0, state: Any = None) -> Iterator[Any]:
            for number, frame in enumerate(super().run(source, skip, state)):
                deaths = sorted(Path(kill_list).glob(f"{source.description}*")) if kill_list and number == 3 else []
                if deaths:
                    deaths[0].unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield frame

    return MortalTracker(HandModel(load_mano("open")))
