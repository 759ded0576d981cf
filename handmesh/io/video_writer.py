"""An mp4 that is whole under its final name or not there at all, also after Ctrl-C.

Knows OpenCV's writer. Does not know what is on the pictures.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path

CLIP_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv")
#: Frames that wait for the encoder; more would only hide that it is too slow.
QUEUE_SIZE = 8
#: A picture stands still for at most so long in a clip that keeps time: a camera may be gone, or paused, for minutes.
MAX_STILL_S = 5.0


class ClipWriter:
    """Writes RGB frames to a clip, encoding in a thread. Use as a context manager.

    Leaving the block normally or by Ctrl-C finishes the clip (and removes it if it got no frame); any other exception
    leaves nothing under the final name, and so does an encoder that fails, which the next write or the end of the block
    says (HandMeshError). Frames of another size than the first are scaled and padded to it. Frames that
    come with their times are repeated and left out so that the clip takes as long as what it shows.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        """A clip at ``path`` (.mp4, .mov, .avi or .mkv); ``fps`` is what players will use."""
        self.path, self.fps, self.frame_count = Path(path), fps, 0
        if self.path.suffix.lower() not in CLIP_SUFFIXES:
            raise HandMeshError(
                f"expected a clip's name ending in one of {', '.join(CLIP_SUFFIXES)}, got {self.path.name}; add one"
            )
        self._target: AbstractContextManager[Path] | None = None
        self._part = Path()
        # Not queue.Queue: Ctrl-C that comes while its Python code takes the lock leaves it locked, and the end waits
        # for ever. A SimpleQueue is one step of the interpreter. A token in _room is a free place.
        self._frames: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(QUEUE_SIZE):
            self._room.put(None)
        self._encoder: threading.Thread | None = None
        self._failure: Exception | None = None
        self._size = (0, 0)
        self._start_s: float | None = None
        self._newest: Any = None

    def __enter__(self) -> ClipWriter:
        self._target = atomic_path(self.path)
        self._part = self._target.__enter__()
        return self

    def write(self, image: NDArray[np.uint8], timestamp_s: float | None = None) -> float:
        """Add a frame (H, W, 3) uint8 RGB. The array may be reused by the caller afterwards.

        Args:
            timestamp_s: when it was taken. The frame before it is repeated until then, for at most MAX_STILL_S; a
                frame whose place is taken by the one before is left out. None: one frame more, whenever it was.

        Returns the seconds that the clip is shorter than the time that passed, because nothing came for longer.
        """
        if self._encoder is None:
            # mp4v wants even sides.
            self._size = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)
            self._encoder = threading.Thread(target=self._encode, name="clip encoder", daemon=True)
            self._encoder.start()
        behind, left_out_s = (0.0, 0.0) if timestamp_s is None else self._behind(timestamp_s)
        # Within a frame's time either way is a camera's own unrest; evened out, every picture would be there once.
        if behind <= -1:
            return 0.0
        for _ in range(int(behind)):
            self._put(self._newest)
        self._newest = cv2.cvtColor(_fit(image, self._size), cv2.COLOR_RGB2BGR)
        self._put(self._newest)
        return left_out_s

    def _behind(self, timestamp_s: float) -> tuple[float, float]:
        """By how many frames the clip is too short for a frame of that time, and the seconds that are left out."""
        if self._start_s is None:
            self._start_s = timestamp_s
        behind_s = timestamp_s - self._start_s - self.frame_count / self.fps
        left_out_s = max(0.0, behind_s - MAX_STILL_S)
        self._start_s += left_out_s
        return (behind_s - left_out_s) * self.fps, left_out_s

    def _put(self, picture: Any) -> None:
        self._raise_failure()
        self._room.get()
        self._frames.put(picture)
        self.frame_count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._encoder is not None:
            self._frames.put(None)
            self._encoder.join()
        assert self._target is not None
        is_wanted = (kind is None or issubclass(kind, KeyboardInterrupt)) and self.frame_count and not self._failure
        if is_wanted:
            self._target.__exit__(None, None, None)
            return
        try:
            # Any exception makes atomic_path throw the part away.
            self._target.__exit__(_Unwanted, _Unwanted(), None)
        except _Unwanted:
            pass
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._raise_failure()

    def _encode(self) -> None:
        pictures = self._pictures()
        try:
            self._encode_all(pictures)
        except HandMeshError as error:
            self._failure = error
        except Exception as error:
            self._failure = HandMeshError(
                f"expected to write {self.path}, got: {error}; choose another name or folder with --output"
            )
        # Whoever writes would wait for ever for room in a queue that nobody empties.
        for _ in pictures:
            pass

    def _pictures(self) -> Iterator[Any]:
        while (picture := self._frames.get()) is not None:
            self._room.put(None)
            yield picture

    def _encode_all(self, pictures: Iterator[Any]) -> None:
        writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*_fourcc(self.path)), self.fps, self._size)
        if not writer.isOpened():
            raise HandMeshError(f"expected to write {self.path}, got no encoder for it; use a name ending in .mp4")
        for picture in pictures:
            writer.write(picture)
        writer.release()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Unwanted(Exception):
    """Tells atomic_path to throw the part away; never leaves this module."""


def _fourcc(path: Path) -> str:
    return "MJPG" if path.suffix.lower() == ".avi" else "mp4v"


def _fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image at exactly size = (width, height): cropped by an odd pixel, or scaled and padded with black."""
    width, height = size
    if image.shape[1] - width in (0, 1) and image.shape[0] - height in (0, 1):
        return image[:height, :width]
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
