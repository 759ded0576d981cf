"""How ``handmesh label-footage`` grows with its workers: frames a second with one worker and with more, here.

The clips are parts of the demo clip (640 x 480), --clips of --seconds each. The rate is that between the first result
and the last, so that starting processes and loading weights do not count; the seconds of the whole run are given too,
and with --kill those of a run of which one worker is killed, whose recordings must be the others' to the byte.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from handmesh.cli.commands.label_footage import load_worker_tracker
from handmesh.cli.options import CameraOptions
from handmesh.errors import CommandParser, HandMeshError, run_command
from handmesh.io.runtime.ray_cluster import ray_cluster
from handmesh.io.storage import Storage
from handmesh.io.video.sources import ClipSource
from handmesh.io.video.video_writer import ClipWriter
from handmesh.labeling.cluster.pool import Workers, label_footage
from handmesh.labeling.cluster.worker import FootageJob
from handmesh.synthesis.demo_clip import FPS, demo_clip


def make_clips(folder: Path, clips: int, seconds: float) -> None:
    """Parts of the demo clip, each from another frame on."""
    pictures = [frame.image for frame in ClipSource(demo_clip())]
    for number in range(clips):
        with ClipWriter(folder / f"clip-{number:03d}.mp4", FPS) as writer:
            for index in range(round(seconds * FPS)):
                writer.write(pictures[(index + 17 * number) % len(pictures)])


def label(footage: Path, output: Path, workers: int, kill: bool) -> tuple[float, float]:
    """Frames a second between the first result and the last, and the seconds of all; ``kill`` kills a worker."""
    import psutil

    model = {"checkpoint": "default", "mano": "open", "engine": "auto", "trust_engine_file": False}
    make_tracker = partial(load_worker_tracker, model, CameraOptions(), 2, 0.0, 1, False)
    job = FootageJob(Storage(str(footage)), Storage(str(output)), "offline", True, {}, make_tracker)
    results: list[tuple[float, int]] = []

    def on_row(row: dict[str, Any]) -> None:
        results.append((time.perf_counter(), row["frames"]))
        if kill and len(results) == 1:
            victim = int(row["process"].rpartition(":")[2])
            psutil.Process(victim).kill()
            print(f"killed worker {victim}")

    start_s = time.perf_counter()
    report = label_footage(job, Workers(workers), on_row=on_row)
    if report.failures:
        raise HandMeshError(f"expected every clip to be labelled, got {report.failures}")
    duration_s = results[-1][0] - results[0][0]
    return sum(frames for _, frames in results[1:]) / duration_s, time.perf_counter() - start_s


def digests(folder: Path) -> dict[str, str]:
    """Of every recording."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.jsonl"))}


def main() -> None:
    """Measure and print."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a clip (default 4)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kill", action="store_true", help="once more with the most workers, one of which is killed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ray_cluster(cpus=max(args.workers)):
        folder = Path(name)
        make_clips(folder / "footage", args.clips, args.seconds)
        runs = [(count, False) for count in args.workers] + ([(max(args.workers), True)] if args.kill else [])
        wanted: dict[str, str] = {}
        for number, (count, kill) in enumerate(runs):
            output = folder / f"out-{number}"
            rate, all_s = label(folder / "footage", output, count, kill)
            found = digests(output)
            wanted = wanted or found
            same = "the same recordings" if found == wanted and len(found) == args.clips else "OTHER RECORDINGS"
            print(f"{count} workers: {rate:.1f} frames a second, {all_s:.0f} s in all; {same}", flush=True)


if __name__ == "__main__":
    run_command(main)
