"""A recording sent as a live stream, at any rate: how long sending takes, and a source for receivers without a camera.

``python -m scripts.benchmarks.streams RECORDING --stream ws://:8765 [--stream ...] [--rate 30] [--frames 900]``: its
frames go out again and again, each at its time, as `handmesh webcam --stream` sends them. Prints milliseconds of
LiveStream.send, which is what the camera's loop waits for, and how many frames were sent late.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from handmesh.cli.progress import say
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.motion.recording import Recording
from handmesh.motion.streams.live import LiveStream
from handmesh.motion.streams.targets import open_targets


def play(recording: Recording, stream: LiveStream, rate: float, count: int) -> dict[str, Any]:
    """Send frames, each at its time.

    Args:
        recording: where they come from; it begins again when it is over.
        stream: begun.
        rate: frames a second.
        count: how many.

    Returns:
        frames, rate (a second, as it came out), late (sent more than half a period after their time), send_ms (median,
        95th percentile, longest).
    """
    frames = [recording.frame(row) for row in range(min(len(recording.frames), count))]
    durations_ms, late = [], 0
    start_s = time.perf_counter()
    for index in range(count):
        due_s = start_s + index / rate
        time.sleep(max(0.0, due_s - time.perf_counter()))
        frame = replace(frames[index % len(frames)], index=index, timestamp_s=index / rate)
        grabbed_s = time.perf_counter()
        stream.send(frame, grabbed_s)
        durations_ms.append(1000 * (time.perf_counter() - grabbed_s))
        late += grabbed_s - due_s > 0.5 / rate
    duration_s = time.perf_counter() - start_s
    spread = [*np.percentile(durations_ms, [50, 95]), max(durations_ms)]
    return {
        "frames": count, "rate": round(count / duration_s, 2), "late": late,
        "send_ms": [round(float(value), 2) for value in spread],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the words, send, print."""
    parser: argparse.ArgumentParser = CommandParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("recording")
    parser.add_argument("--stream", action="append", default=[], required=True, metavar="URL")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second (default 30)")
    parser.add_argument("--frames", type=int, default=900)
    args = parser.parse_args(argv)
    if not args.rate > 0 or args.frames < 1:
        raise HandMeshError(f"expected --rate and --frames above 0, got {args.rate:g} and {args.frames}")
    recording = Recording.load(args.recording)
    if not len(recording.frames):
        raise HandMeshError(f"expected a recording with frames, got {args.recording} without any")
    with open_targets(args.stream, say) as targets:
        # Receivers that are there already have a moment to connect.
        time.sleep(0.5)
        with LiveStream(targets, recording.header, recording.model) as stream:
            print(json.dumps(play(recording, stream, args.rate, args.frames)))


if __name__ == "__main__":
    run_command(main)
