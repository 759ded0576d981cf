"""One frame and what every source of frames offers. Knows no device and no file format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
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
    #: Frames a second, as the device or the file says; 0 where it means nothing.
    fps: float

    def __iter__(self) -> Iterator[SourceFrame]: ...

    def close(self) -> None:
        """Let go of the device, the file and any thread; idempotent."""
        ...


def plausible_fps(fps: float) -> float:
    """Frames a second as a device or a file says; 30 where that can be no rate."""
    return float(fps) if 1 <= fps <= 1000 else 30.0
