"""One frame and what every source of frames offers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A picture with its time.

    Attributes:
        timestamp_s: seconds since the source's start, rising; a clip's own time, a camera's time of the grab.
        image: (H, W, 3) uint8 RGB.
        name: a photo's file name, "" for clips and cameras.
        grabbed_s: ``time.perf_counter()`` when the frame was in hand, for measuring the latency.
    """

    timestamp_s: float
    image: NDArray[np.uint8]
    name: str = ""
    grabbed_s: float = 0.0


class Source(Protocol):
    """Where frames come from. Iterating twice starts anew, except for a camera, which goes on."""

    #: What it is, for people: "camera 0", a file's name.
    description: str
    #: A camera: frames that nobody took in time are dropped.
    is_live: bool
    #: Photos: frames do not follow one another in time.
    is_photos: bool
    #: Frames a second; 0 where it means nothing.
    fps: float
    #: How many frames there are to come in all; 0 where nobody knows.
    frame_count: int

    def __iter__(self) -> Iterator[SourceFrame]: ...

    def close(self) -> None:
        """Let go of the device, the file and any thread; idempotent."""
        ...


class IterableSource:
    """Frames that a program has or makes: arrays, or objects that say their own time."""

    is_live, is_photos, frame_count = False, False, 0

    def __init__(self, frames: Iterable[object], fps: float = 30.0) -> None:
        """Take frames as they come.

        Args:
            frames: RGB arrays (H, W, 3) uint8, ``fps`` of them a second, or objects with ``image`` and ``timestamp_s``.

        Raises:
            HandMeshError: nothing that can be iterated, or a rate that is none.
        """
        if not isinstance(frames, Iterable):
            raise HandMeshError(
                f"expected a camera's index, a path, or an iterable of frames, got {type(frames).__name__}"
            )
        if not (fps > 0 and math.isfinite(fps)):
            raise HandMeshError(f"expected fps, frames a second, above 0, got {fps}")
        self.description, self.fps, self._frames = "frames", float(fps), frames

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, item in enumerate(self._frames):
            frame: Any = item
            if isinstance(item, np.ndarray):
                yield SourceFrame(index / self.fps, item, "", time.perf_counter())
            elif hasattr(item, "image") and hasattr(item, "timestamp_s"):
                yield SourceFrame(frame.timestamp_s, frame.image, getattr(item, "name", ""), time.perf_counter())
            else:
                raise HandMeshError(
                    "expected frames as RGB arrays (H, W, 3) uint8, or objects with image and timestamp_s, got "
                    f"{type(item).__name__}"
                )

    def close(self) -> None:
        """Nothing is held: whoever made the frames ends them."""


class PacedSource:
    """The frames of a clip at their own times, none sooner: as if a camera gave them. None is left out."""

    is_live, is_photos = False, False

    def __init__(self, source: Source) -> None:
        """``source``: the clip; closed with this."""
        self._source, self._ended = source, threading.Event()
        self.description, self.fps, self.frame_count = source.description, source.fps, source.frame_count

    def __iter__(self) -> Iterator[SourceFrame]:
        start_s: float | None = None
        for frame in self._source:
            if start_s is None:
                start_s = time.perf_counter() - frame.timestamp_s
            if self._ended.wait(max(0.0, start_s + frame.timestamp_s - time.perf_counter())):
                return
            yield replace(frame, grabbed_s=time.perf_counter())

    def close(self) -> None:
        """End the wait for the next frame, and close the clip; idempotent."""
        self._ended.set()
        self._source.close()


def plausible_fps(fps: float) -> float:
    """Frames a second as a device or a file says; 30 where that can be no rate."""
    return float(fps) if 0.1 <= fps <= 1000 else 30.0
