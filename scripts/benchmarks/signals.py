"""Whether a request to end is ever lost: SIGINT and SIGTERM at random moments of a run that draws and records.

    python -m scripts.benchmarks.signals [--tries 200] [--seed 0]

Each try runs the whole command (a stand-in camera and tracker, the real overlay, whose kernels are numba's, the real
window-less loop and encoder) in this process, sends it one signal, and expects exit code 130 in time and a clip that
holds every frame that was counted.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from handmesh.cli import live_outputs
from handmesh.cli.commands import webcam
from handmesh.geometry.camera import intrinsics_from_fov, project_points
from handmesh.inference.tracking.tracker import Frame
from handmesh.io.video.camera_source import CameraSource
from handmesh.io.video.sources import open_source
from handmesh.mano.arrays import load_mano
from handmesh.rendering.live_view import LiveView
from handmesh.rendering.overlay import draw_hands
from handmesh.results import Hand

#: Longer than any frame takes, and than the loop waits for a frame.
PATIENCE_S = 60.0


class _Device:
    """A camera that gives a picture at once."""

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return 60.0

    def release(self) -> None: ...

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.002)
        return True, np.full((240, 320, 3), 90, np.uint8)


class _Tracker:
    """Sees the same hand in every frame; starts a timer at the first one."""

    smoothing = True
    predictor = SimpleNamespace(engine=SimpleNamespace(name="stand-in"))

    def __init__(self, hand: Hand, timer: threading.Timer) -> None:
        self.hand, self.timer = hand, timer

    def run(self, source: Any) -> Iterator[Frame]:
        self.timer.start()
        for item in source:
            yield Frame(item.timestamp_s, item.image, [self.hand], [0], {}, item.name, item.grabbed_s)


def make_hand() -> Hand:
    """The open hand at rest, half a metre away."""
    mano = load_mano("open")
    vertices = mano.v_template - mano.v_template.mean(0) + [0, 0, 0.5]
    K, eye = intrinsics_from_fov(320, 240, 60), np.eye(3)
    points = project_points(vertices[:21], K)
    return Hand(
        vertices, vertices[:21], points, True, 0.9, mano.faces, eye, np.tile(eye, (15, 1, 1)), np.zeros(10),
        np.array([0, 0, 0.5]), K, np.concatenate([points.min(0), points.max(0)]),
    )  # fmt: skip


def attempt(folder: Path, hand: Hand, number: int, delay_s: float) -> str:
    """One run that gets a signal to end ``delay_s`` after it began; "" where it did as it should, else what it did."""
    timer = threading.Timer(delay_s, os.kill, (os.getpid(), number))
    watch = threading.Timer(delay_s + PATIENCE_S, _give_up)
    timer.daemon = watch.daemon = True
    webcam.load_tracker = lambda args, smoothing: _Tracker(hand, timer)  # type: ignore[assignment,return-value]
    clip, stats = folder / "a.mp4", folder / "a.json"
    watch.start()
    with contextlib.redirect_stderr(io.StringIO()):
        code = webcam.main(["--source", "0", "--headless", "--output", str(clip), "--stats", str(stats), "--hud"])
    watch.cancel()
    frames = len(list(open_source(clip))) if clip.exists() else 0
    counted = json.loads(stats.read_text())["frames"]
    if code != 130:
        return f"exit code {code}"
    return "" if frames == counted else f"{frames} of {counted} frames in the clip"


def _give_up() -> None:
    print(f"a signal was lost: still running after {PATIENCE_S:g} s", flush=True)
    faulthandler.dump_traceback(file=2, all_threads=True)  # sys.stderr is redirected
    os._exit(1)


def main() -> None:
    """Run the tries and print how many went wrong; exit code 1 for any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance, hand = random.Random(args.seed), make_hand()
    live_outputs.open_source = lambda spec: CameraSource(0, opener=lambda _: _Device())  # type: ignore[assignment]
    # A shell has its background jobs ignore Ctrl-C, and what ignores it from the start goes on doing so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Compiled before the first try: compiling may take longer than patience lasts.
    LiveView(hud_in_files=True).annotate(draw_hands(np.zeros((240, 320, 3), np.uint8), [hand]), [hand], [0])
    faults = []
    with tempfile.TemporaryDirectory() as name:
        for index in range(args.tries):
            number = chance.choice((signal.SIGINT, signal.SIGTERM))
            fault = attempt(Path(name), hand, number, chance.uniform(0.0, 0.6))
            if fault:
                faults.append(f"try {index}, {number.name}: {fault}")
            for file in Path(name).iterdir():
                file.unlink()
    print(f"{args.tries} signals, {len(faults)} lost or badly ended")
    print("\n".join(faults))
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
