"""The live pipeline on a clip: frames a second with and without drawing, each stage, latency, start-up; or a soak.

Drawn frames end in memory: nothing is encoded or shown. Latency is measured as on a camera: the clip's frames come at
their own pace through the camera's slot, and a frame counts from its grab until it is drawn. Start-up is a new process
with warm caches, from its start to its first mesh.

A network of other size that nobody has trained yet is measured with --besides: it runs on every crop too, in the size
it takes, and its answer is dropped. The pipeline with it in the shipped network's place is faster than that.

With --mediapipe PYTHON, an interpreter that has mediapipe (it wants a numpy of its own: python -m venv ENV, then
ENV/bin/pip install mediapipe), MediaPipe Hands sees the same frames in turns with handmesh: its bare landmarks against
drawn meshes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError, run_command
from handmesh.inference.engines.base import Engine, EngineOutput
from handmesh.inference.predictor import HandMeshPredictor
from handmesh.inference.stage_clock import StageClock
from handmesh.inference.timing import LiveStats
from handmesh.inference.tracking.tracker import Frame, HandTracker
from handmesh.io.files import write_json
from handmesh.io.video.camera_source import CameraSource
from handmesh.io.video.prefetch import PrefetchIterator
from handmesh.io.video.sources import ClipSource, SourceFrame, open_source
from handmesh.rendering.hud import draw_hud
from handmesh.rendering.overlay import draw_hands
from scripts.benchmarks._mediapipe import compare, table

#: Frames before the clock starts: kernels are compiled, both batch sizes loaded, a hand found.
WARM_UP = 40
#: How often a soak looks at the memory; the first look comes after the warm-up.
LOOKS = 10
_START_UP = """
import sys, handmesh
checkpoint, engine, mano, source, max_hands, detector, size = sys.argv[1:]
predictor = handmesh.HandMeshPredictor.from_pretrained(
    checkpoint, engine=engine, mano=mano, detector=detector, crop_size=int(size)
)
frames = handmesh.HandTracker(predictor, max_hands=int(max_hands)).run(source)
print(next((len(frame.hands[0].vertices) for frame in frames if frame.hands), 0), flush=True)
"""


class Loop:
    """A clip that starts again until ``count`` frames have come, its time going on; read from the file every time."""

    is_live, is_photos = False, False

    def __init__(self, clip: ClipSource, count: int) -> None:
        self._clip, self._count = clip, count
        self.description, self.fps = clip.description, clip.fps

    def __iter__(self) -> Iterator[SourceFrame]:
        given, start_s = 0, 0.0
        while given < self._count:
            last_s = 0.0
            for frame in self._clip:
                last_s = frame.timestamp_s
                yield SourceFrame(start_s + last_s, frame.image, "", frame.grabbed_s)
                given += 1
                if given == self._count:
                    return
            start_s += last_s + 1 / self.fps

    def close(self) -> None:
        self._clip.close()


class ClipDevice:
    """A capture device as OpenCV has it that plays a clip's pictures over and over at their own pace."""

    def __init__(self, pictures: Sequence[np.ndarray], fps: float) -> None:
        self._pictures, self._fps, self._count, self._start_s = pictures, fps, 0, time.perf_counter()

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return self._fps

    def release(self) -> None: ...

    def read(self) -> tuple[bool, np.ndarray]:
        due_s = self._start_s + self._count / self._fps
        time.sleep(max(0.0, due_s - time.perf_counter()))
        picture = self._pictures[self._count % len(self._pictures)]
        self._count += 1
        return True, picture


class Besides:
    """An engine that also runs another network on every crop, brought to its size, and drops that one's answer."""

    def __init__(self, own: Engine, other: Engine, size: int) -> None:
        self._own, self._other, self._size = own, other, size
        self.name, self.any_size = f"{own.name} + {other.name}", own.any_size

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        self._other(np.stack([cv2.resize(image, (self._size, self._size)) for image in images]))
        return self._own(images)


def besides(own: Engine, variant: str, size: int) -> Engine:
    """``own`` with an untrained network of this variant and size besides; weights cost the same whatever they are."""
    from handmesh.inference.engines.factory import make_engine
    from scripts.benchmarks.engines import make_network

    return Besides(own, make_engine(make_network(variant, size)), size)


def draw(frame: Frame, stats: LiveStats) -> np.ndarray:
    """What the live page puts on a frame."""
    picture = draw_hands(frame.image, frame.hands)
    draw_hud(picture, stats.lines() if stats.frames else [])
    return picture


def measure(tracker: HandTracker, clip: ClipSource, count: int, with_drawing: bool) -> LiveStats:
    """Run ``count`` frames after a warm-up; drawing overlaps with the tracker as in the live page."""
    stats = LiveStats(tracker.predictor.engine.name)
    with PrefetchIterator(tracker.run(Loop(clip, WARM_UP + count)), 1, "tracker") as frames:
        for index, frame in enumerate(frames):
            if index == WARM_UP:
                stats = LiveStats(tracker.predictor.engine.name)
            clock = StageClock()
            if with_drawing:
                with clock("draw"):
                    draw(frame, stats)
            height, width = frame.image.shape[:2]
            stats.add({**frame.stages_ms, **clock.stages_ms}, bool(frame.hands), width, height, frame.grabbed_s)
    return stats


def latencies_ms(tracker: HandTracker, clip: ClipSource, count: int) -> list[float]:
    """Milliseconds from the grab to the drawn frame, the clip coming as from a camera at its own pace."""
    pictures = []
    for shown in clip:
        pictures.append(cv2.cvtColor(shown.image, cv2.COLOR_RGB2BGR))
        if len(pictures) == count:
            break
    camera = CameraSource(opener=lambda _: ClipDevice(pictures, clip.fps), report=lambda line: None)
    stats = LiveStats(tracker.predictor.engine.name)
    found: list[float] = []
    with PrefetchIterator(tracker.run(camera), 1, "tracker") as frames:
        for frame in frames:
            draw(frame, stats)
            found.append((time.perf_counter() - frame.grabbed_s) * 1000)
            if len(found) == WARM_UP + count:
                break
        camera.close()
    return found[WARM_UP:]


def start_up_s(args: argparse.Namespace) -> float:
    """Seconds from a process's start to its first mesh, the second time: the first one fills the caches."""
    words = [
        args.checkpoint, args.engine, args.mano, str(args.source), str(args.max_hands), args.detector,
        str(args.crop_size),
    ]  # fmt: skip
    for _ in range(2):
        start_s = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", _START_UP, *words], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            answer = process.stdout.readline().strip()
            duration_s = time.perf_counter() - start_s
    if not answer or answer == "0":
        raise HandMeshError(f"expected a hand in {args.source}, found none; name a clip that shows one")
    return duration_s


def resident_mb() -> float:
    """Memory of this process now, megabytes (where the system does not say, the most it ever was)."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def soak(tracker: HandTracker, clip: ClipSource, count: int) -> dict[str, Any]:
    """Run ``count`` frames with drawing; memory along the way, and the threads that are left."""
    before = set(threading.enumerate())
    every, memory, start_s = max(1, count // LOOKS), [], time.perf_counter()
    stats = LiveStats(tracker.predictor.engine.name)
    with PrefetchIterator(tracker.run(Loop(clip, count)), 1, "tracker") as frames:
        for number, frame in enumerate(frames, start=1):
            draw(frame, stats)
            height, width = frame.image.shape[:2]
            stats.add(frame.stages_ms, bool(frame.hands), width, height, frame.grabbed_s)
            if number % every == 0:
                memory.append(resident_mb())
                fps = number / (time.perf_counter() - start_s)
                print(f"  {number:>8} frames  {memory[-1]:8.1f} MB  {fps:6.1f} a second", flush=True)
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    growth = memory[-1] - memory[0] if memory else 0.0
    print(f"memory grew by {growth:.1f} MB from the first look to the last; threads left: {', '.join(left) or 'none'}")
    return {
        "frames": count, "memory_mb": [round(each, 1) for each in memory], "growth_mb": round(growth, 1),
        "threads_left": left,
    }  # fmt: skip


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.live", description=__doc__)
    parser.add_argument("--source", type=Path, help="a clip (default: the one the project renders itself)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--frames", type=int, default=400, help="frames a run; the clip is repeated (default 400)")
    parser.add_argument("--soak", type=int, metavar="N", help="only run N frames and look at the memory")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--detector", default="auto", help="as of handmesh webcam")
    parser.add_argument("--threads", type=int, default=0, help="of the networks (default 0: their own choice)")
    parser.add_argument("--mano", default="open")
    parser.add_argument("--crop-size", type=int, default=0, help="as of handmesh webcam")
    parser.add_argument("--max-hands", type=int, default=2, help="as the live page; a free slot is searched for")
    parser.add_argument("--besides", metavar="VARIANT", help="also run this network on every crop: fastvit_sa12, ...")
    parser.add_argument("--mediapipe", metavar="PYTHON", help="an interpreter with mediapipe: only run it beside")
    parser.add_argument("--rounds", type=int, default=5, help="with --mediapipe: turns of each (default 5)")
    parser.add_argument("--besides-size", type=int, default=256, metavar="PX", help="the side it takes (256)")
    args = parser.parse_args(argv)
    if min(args.frames, args.soak or 1) < 1:
        raise HandMeshError("expected at least one frame with --frames and --soak")
    if args.source is None:
        from handmesh.synthesis.demo_clip import demo_clip

        args.source = demo_clip()
    clip = open_source(args.source)
    if not isinstance(clip, ClipSource):
        raise HandMeshError(f"expected a clip, got {args.source}; name a video file")
    predictor = HandMeshPredictor.from_pretrained(
        args.checkpoint, engine=args.engine, mano=args.mano, threads=args.threads, detector=args.detector,
        crop_size=args.crop_size,
    )  # fmt: skip
    if args.besides:
        predictor.engine = besides(predictor.engine, args.besides, args.besides_size)
    tracker = HandTracker(predictor, max_hands=args.max_hands)
    if args.mediapipe:
        result = _beside_mediapipe(tracker, clip, args)
    else:
        result = _soak(tracker, clip, args) if args.soak else _speed(tracker, clip, args)
    if args.json:
        write_json(args.json, result, indent=2)
    return 0


def _beside_mediapipe(tracker: HandTracker, clip: ClipSource, args: argparse.Namespace) -> dict[str, Any]:
    pictures = [frame.image for frame in islice(clip, args.frames)]
    result = compare(tracker, pictures, draw, args.mediapipe, args.rounds)
    print(f"{len(pictures)} frames of {clip.description}, {args.rounds} rounds, at most {args.max_hands} hands")
    print(table(result))
    return result


def _soak(tracker: HandTracker, clip: ClipSource, args: argparse.Namespace) -> dict[str, Any]:
    measure(tracker, clip, 1, True)
    return {"engine": tracker.predictor.engine.name, **soak(tracker, clip, args.soak)}


def _speed(tracker: HandTracker, clip: ClipSource, args: argparse.Namespace) -> dict[str, Any]:
    drawn, bare = (measure(tracker, clip, args.frames, with_drawing) for with_drawing in (True, False))
    latency = latencies_ms(tracker, clip, min(args.frames, 240))
    summary = {
        **drawn.summary(),
        "fps_without_drawing": bare.summary()["fps"],
        "latency_ms": round(statistics.median(latency), 2),
        "latency_p95_ms": round(float(np.percentile(latency, 95)), 2),
        "start_up_s": round(start_up_s(args), 2),
        "max_hands": args.max_hands,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }
    print(f"{summary['engine']}, {summary['resolution']}, {summary['frames']} frames, hands in "
          f"{summary['frames_with_hands']}; the machine's load is {summary['load']}")  # fmt: skip
    print(f"  file to annotated frame in memory  {summary['fps']:8.1f} frames a second")
    print(f"  without drawing                    {summary['fps_without_drawing']:8.1f} frames a second")
    print(f"  grab to drawn frame {'':14} {summary['latency_ms']:8.1f} ms (95 %: {summary['latency_p95_ms']:.1f})")
    print(f"  start-up to the first mesh         {summary['start_up_s']:8.2f} s")
    for stage, median_ms in summary["stages_ms"].items():
        share = len(drawn.durations_ms(stage)) / drawn.frames
        print(f"    {stage:32} {median_ms:8.2f} ms" + (f"  in {share:.0%} of frames" if share < 0.995 else ""))
    return summary


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
