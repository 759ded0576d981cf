"""MediaPipe Hands beside the live pipeline: the same frames in memory, in turns, in an environment of its own.

MediaPipe pins an old numpy, so it runs under another interpreter: this file, started by it, is the other side.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from handmesh.inference.tracking.tracker import HandTracker

#: Names of MediaPipe's landmark models by ``model_complexity``.
MODELS = {"lite": 0, "full": 1}
_WARM_UP = 40


def compare(
    tracker: HandTracker, pictures: Sequence[np.ndarray], draw: Callable[[Any, Any], Any], python: str, rounds: int
) -> dict[str, dict[str, float]]:
    """Frames a second and milliseconds a frame of handmesh and of both MediaPipe models, medians over the rounds.

    Args:
        tracker: follows as many hands as MediaPipe is to.
        pictures: (H, W, 3) uint8 RGB each, of one clip, in order.
        draw: takes a frame and statistics, and draws the frame's hands.
        python: an interpreter with mediapipe installed.
        rounds: each runs the three of them once, one after the other.

    Returns:
        For "handmesh", "lite", "full": ``fps`` and ``latency_ms``, and for the models ``times_faster`` and
        ``times_latency``, the medians of the ratios within a round.
    """
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "frames.npy", np.stack(pictures))
        command = [python, __file__, str(Path(folder) / "frames.npy"), str(tracker.max_hands)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None and other.stdout is not None
            found: dict[str, list[tuple[float, float]]] = {"handmesh": [], **{name: [] for name in MODELS}}
            for _ in range(rounds):
                found["handmesh"].append(_own(tracker, pictures, draw))
                for name in MODELS:
                    print(name, file=other.stdin, flush=True)
                    answer = json.loads(other.stdout.readline())
                    found[name].append((answer["fps"], answer["latency_ms"]))
            other.stdin.close()
    result = {}
    for name, values in found.items():
        result[name] = {key: statistics.median(column) for key, column in zip(("fps", "latency_ms"), zip(*values))}
        if name != "handmesh":
            pairs = list(zip(found["handmesh"], values))
            result[name]["times_faster"] = statistics.median(own[0] / theirs[0] for own, theirs in pairs)
            result[name]["times_latency"] = statistics.median(own[1] / theirs[1] for own, theirs in pairs)
    return result


def _own(tracker: HandTracker, pictures: Sequence[np.ndarray], draw: Callable[[Any, Any], Any]) -> tuple[float, float]:
    """Drawn frames a second, the tracker a frame ahead as in the live page; median ms of a frame on its own."""
    from handmesh.inference.timing import LiveStats
    from handmesh.io.video.prefetch import PrefetchIterator

    stats = LiveStats(tracker.predictor.engine.name)
    # A clip that starts again comes to the tracker as time that goes on.
    repeated = [*pictures[-_WARM_UP:], *pictures]
    start_s = 0.0
    with PrefetchIterator(tracker.run(repeated), 1, "tracker") as frames:
        for index, frame in enumerate(frames):
            if index == _WARM_UP:
                start_s = time.perf_counter()
            draw(frame, stats)
    fps = len(pictures) / (time.perf_counter() - start_s)
    latencies, asked_s = [], time.perf_counter()
    for frame in tracker.run(repeated):
        draw(frame, stats)
        latencies.append(1000 * (time.perf_counter() - asked_s))
        asked_s = time.perf_counter()
    return fps, statistics.median(latencies[_WARM_UP:])


def table(result: dict[str, dict[str, float]]) -> str:
    """The comparison as text."""
    lines = [f"{'':10} {'frames/s':>9} {'ms':>7} {'handmesh is':>13} {'latency':>9}"]
    for name, values in result.items():
        ratios = f"{values['times_faster']:12.2f}x {values['times_latency']:8.2f}x" if name != "handmesh" else ""
        lines.append(f"{name:10} {values['fps']:9.1f} {values['latency_ms']:7.2f} {ratios}")
    return "\n".join(lines)


def _other_side(path: str, max_hands: int) -> None:
    """Under the other interpreter: for each line of stdin, run that model over the frames, and say how fast it was."""
    import mediapipe as mp

    frames = np.load(path, mmap_mode="r")
    for line in sys.stdin:
        hands = mp.solutions.hands.Hands(
            static_image_mode=False, max_num_hands=max_hands, model_complexity=MODELS[line.strip()]
        )
        for frame in frames[-_WARM_UP:]:
            hands.process(np.ascontiguousarray(frame))
        durations, start_s = [], time.perf_counter()
        for frame in frames:
            asked_s = time.perf_counter()
            hands.process(np.ascontiguousarray(frame))
            durations.append(1000 * (time.perf_counter() - asked_s))
        fps = len(frames) / (time.perf_counter() - start_s)
        hands.close()
        print(json.dumps({"fps": fps, "latency_ms": statistics.median(durations)}), flush=True)


if __name__ == "__main__":
    _other_side(sys.argv[1], int(sys.argv[2]))
