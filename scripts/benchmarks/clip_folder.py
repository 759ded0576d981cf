"""How fast ``handmesh video FOLDER`` is, in three ways: everything in turn; decoding and encoding in threads of their
own; and besides, as the command does it, the next clip followed while one is drawn.

The clips are the demo clip (640 x 480), repeated: --clips of --seconds each. Every way does all of them in each of the
--rounds, so that a machine's swings meet all ways. Cores busy are CPU seconds over seconds.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from handmesh.cli.clip_passes import ClipPasses
from handmesh.cli.tracking import add_run_options, expect_run_options, load_tracker
from handmesh.cli.video_folder import FolderRun
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.inference.timing import LiveStats
from handmesh.io.runtime.stop_signals import StopSignals
from handmesh.io.video.sources import ClipSource, list_clips
from handmesh.io.video.video_writer import ClipWriter
from handmesh.motion.clip_folder import clip_tasks
from handmesh.synthesis.demo_clip import FPS, demo_clip


class _InTurn:
    """Stands for PrefetchIterator: an item is made when it is asked for."""

    def __init__(self, items: Iterable[Any], depth: int = 1, name: str = "") -> None:
        self._items = iter(items)

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def close(self) -> None:
        self._items.close()  # type: ignore[attr-defined]


class _WaitingWriter(ClipWriter):
    """Stands for ClipWriter: the caller waits until a frame is encoded."""

    def _put(self, picture: NDArray[np.uint8], ticks: int) -> None:
        self._encoded = getattr(self, "_encoded", threading.Semaphore(0))
        super()._put(picture, ticks)
        self._encoded.acquire(timeout=60)

    def _pictures(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        for picture in super()._pictures():
            yield picture
            self._encoded.release()


def make_clips(folder: Path, clips: int, seconds: float) -> None:
    """The demo clip, repeated, as so many clips."""
    pictures = [frame.image for frame in ClipSource(demo_clip())]
    for number in range(clips):
        with ClipWriter(folder / f"clip-{number:03d}.mp4", FPS) as writer:
            for index in range(round(seconds * FPS)):
                writer.write(pictures[(index + 40 * number) % len(pictures)])


def measure(make_passes: Callable[[], ClipPasses], folder: Path, overlap: bool, drawn: bool) -> tuple[float, float]:
    """Seconds and CPU seconds of all clips."""
    with tempfile.TemporaryDirectory() as name:
        target = Path(name)
        tasks = clip_tasks(folder, list_clips(folder), target, target if drawn else None)
        run = FolderRun(make_passes(), "offline", overlap)
        before, start_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        run.run(tasks)
        wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_SELF)
        if run.failures:
            raise HandMeshError(f"expected every clip to be done, got {run.failures}")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a table."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a clip (default 30)")
    parser.add_argument("--rounds", type=int, default=1)
    add_run_options(parser)
    args = parser.parse_args()
    expect_run_options(args)
    tracker = load_tracker(args, smoothing=False)
    args.smoothing = "offline"

    def passes() -> ClipPasses:
        return ClipPasses(tracker, args, LiveStats("benchmark"), StopSignals())

    ways = {
        "all in turn": (True, False, True),
        "decoding and encoding in threads": (False, False, True),
        "and the next clip followed meanwhile": (False, True, True),
        "recordings alone": (False, True, False),
    }
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    folder = Path(tempfile.mkdtemp(prefix="handmesh-clips-"))
    try:
        make_clips(folder, 1, 2.0)
        measure(passes, folder, True, True)  # compiles kernels, fills caches
        make_clips(folder, args.clips, args.seconds)
        for _ in range(args.rounds):
            for way, (is_in_turn, overlap, drawn) in ways.items():
                with ExitStack() as stack:
                    if is_in_turn:
                        stack.enter_context(patch("handmesh.io.video.clip_source.PrefetchIterator", _InTurn))
                        stack.enter_context(patch("handmesh.motion.clips.ClipWriter", _WaitingWriter))
                    results[way].append(measure(passes, folder, overlap, drawn))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    frames = args.clips * round(args.seconds * FPS)
    print(f"{args.clips} clips of {args.seconds:g} s, {frames} frames of 640 x 480, {args.rounds} rounds")
    print(f"{'':38}{'frames a second':>16}{'cores busy':>12}{'an hour of 30 a second takes':>32}")
    for way, runs in results.items():
        wall_s = statistics.median(wall for wall, _ in runs)
        busy = statistics.median(cpu / wall for wall, cpu in runs)
        print(f"{way:38}{frames / wall_s:>16.1f}{busy:>12.2f}{3600 * FPS * wall_s / frames / 60:>28.0f} min")


if __name__ == "__main__":
    run_command(main)
