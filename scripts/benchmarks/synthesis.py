"""The data generator: milliseconds of each stage, samples a second on 1 and N cores, the rasteriser and the overlay.

Milliseconds are of processor time in one thread: on an idle machine the same as the clock's, on a busy one still true.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cv2
import numpy as np

from handmesh.errors import run_command
from handmesh.geometry.camera import centred_intrinsics, project_points
from handmesh.io.runtime.cpu_count import available_cores
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.mano.layers.numpy_layer import pose_vertices
from handmesh.rendering.overlay import draw_hands
from handmesh.rendering.rasterizer import fill_faces, rasterize, setup_edges, vertex_normals
from handmesh.results import Hand
from handmesh.synthesis import generator, renderer
from handmesh.synthesis.appearance.surface import HandSurface
from handmesh.synthesis.backgrounds.pool import Backgrounds
from handmesh.synthesis.generator import SampleGenerator

#: Stage, owner of the function, its name. Times are exclusive: a stage within a stage counts once.
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("background", Backgrounds, "sample"),
    ("light", SampleGenerator, "_lighting"),
    ("pose, shape, view, labels", SampleGenerator, "_labels"),
    ("pose prior", SampleGenerator, "pose"),
    ("appearance (skin, clothes)", generator, "sample_appearance"),
    ("forearm", HandSurface, "with_forearm"),
    ("subdivision", HandSurface, "subdivide"),
    ("occlusion", renderer, "ambient_occlusion"),
    ("lamp shadows", renderer, "lamp_shadows"),
    ("rasterise", renderer, "setup_edges"),
    ("rasterise", renderer, "fill_faces"),
    ("skin texels", renderer, "skin_texels"),
    ("shade", renderer, "light_vertices"),
    ("shade", renderer, "shade"),
    ("compose", generator, "lay_over"),
    ("occluders", generator, "draw_occluder"),
    ("camera effects", generator, "camera_effects"),
    ("everything else", SampleGenerator, "sample"),
)


class StageClock:
    """Wraps the stages' functions and adds up the time in each, less the stages it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def wrap(self, stage: str, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                self.seconds[stage] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        setattr(owner, name, timed)


def _warm(options: argparse.Namespace) -> SampleGenerator:
    cv2.setNumThreads(1)
    made = SampleGenerator(load_mano(options.mano), 0, options.size, options.backgrounds)
    made.backgrounds.fill()
    for index in range(20):
        made.sample(index)
    return made


def _rate(first: int, options: argparse.Namespace, gate: Any) -> float:
    """Samples a second of one process, all processes measuring at the same time."""
    made = _warm(options)
    gate.wait()
    start = time.perf_counter()
    for index in range(first, first + options.samples):
        made.sample(index)
    return options.samples / (time.perf_counter() - start)


def _best(call: Callable[[], Any], repeats: int = 200) -> tuple[float, float]:
    """Least and median milliseconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        times.append(1e3 * (time.thread_time() - start))
    return min(times), float(np.median(times))


def _filling_hand(mano: ManoArrays, size: tuple[int, int]) -> Hand:
    """The open hand, palm to the camera, its box as high as the picture (width, height)."""
    pose = np.tile(np.eye(3, dtype=np.float32), (15, 1, 1))
    vertices, joints = pose_vertices(mano, renderer.hand_renderer(mano).upright, pose, np.zeros(10))
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    vertices, joints = vertices - middle + [0, 0, 0.5], joints - middle + [0, 0, 0.5]
    flat = vertices[:, :2] / vertices[:, 2:]
    f = 0.98 * size[1] / np.ptp(flat, axis=0).max()
    K = centred_intrinsics(f, *size)
    points = project_points(joints, K)
    box = np.concatenate([points.min(0), points.max(0)])
    shift = np.array([0, 0, 0.5]) - middle
    return Hand(vertices, joints, points, True, 1.0, mano.faces, np.eye(3), pose, np.zeros(10), shift, K, box)


def _rasterizer(mano: ManoArrays) -> None:
    hand = _filling_hand(mano, (256, 256))
    vertices, faces = hand.vertices.astype(np.float32), hand.faces.astype(np.int32)
    normals, edges = np.empty_like(vertices), np.empty((len(faces), 3, 3), np.float32)
    boxes = np.empty((len(faces), 4), np.int32)

    def bare() -> None:
        near, index = np.zeros((256, 256), np.float32), np.full((256, 256), -1, np.int32)
        vertex_normals(vertices, faces, normals)
        setup_edges(vertices, faces, hand.K, 256, 256, 0.02, True, edges, boxes)
        fill_faces(edges, boxes, 0.02, 0, near, index)

    screen = _filling_hand(mano, (640, 480))
    picture = np.full((480, 640, 3), 90, np.uint8)
    small = np.full((256, 256, 3), 90, np.uint8)
    for name, call in (
        ("z-buffer and normals, 256 x 256", bare),
        ("rasterize() with depth and barycentrics, 256 x 256", lambda: rasterize(vertices, faces, hand.K, 256, 256)),
        ("draw_hands(), anti-aliased, 256 x 256", lambda: draw_hands(small, [hand])),
        ("draw_hands(), anti-aliased, 640 x 480, hand 470 px high", lambda: draw_hands(picture, [screen])),
    ):
        call()
        least, median = _best(call)
        print(f"  {name:58} {median:6.2f} ms (least {least:.2f})")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmarks.synthesis", description=__doc__)
    parser.add_argument("--samples", type=int, default=300, help="samples a process (default 300)")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backgrounds", help="a folder of photos and .hdr maps")
    parser.add_argument("--mano", default="open")
    options = parser.parse_args(argv)
    print(f"{len(load_mano(options.mano).faces)} faces, one thread; the machine's load is {os.getloadavg()[0]:.1f}")
    _rasterizer(load_mano(options.mano))
    made = _warm(options)
    clock = StageClock()
    for wrapped in STAGES:
        clock.wrap(*wrapped)
    start = time.thread_time()
    for index in range(1000, 1000 + options.samples):
        made.sample(index)
    total = time.thread_time() - start
    print(f"  {'stage, milliseconds a sample':58}")
    for stage, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        print(f"    {stage:56} {1e3 * seconds / options.samples:6.2f}")
    print(f"  {'one process, all stages':58} {options.samples / total:6.1f} samples a second of processor time")
    # One thread a process, as in the generator's workers: set before the new processes load their BLAS.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(options.workers, context) as pool:
        gate = manager.Barrier(options.workers)
        jobs = [pool.submit(_rate, 10_000 * (k + 1), options, gate) for k in range(options.workers)]
        rate = sum(job.result() for job in jobs)
    print(f"  {f'{options.workers} processes':58} {rate:6.1f} samples a second")
    return 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
