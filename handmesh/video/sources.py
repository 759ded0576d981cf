"""Clips and photos as frames, and the choice of a source by what the user named.

Knows files and their decoding. Does not know hands; cameras are camera.py's.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from handmesh.errors import HandMeshError
from handmesh.images import IMAGE_SUFFIXES, list_images, read_image
from handmesh.video.camera import CameraSource
from handmesh.video.frame import Source, SourceFrame

#: Frames decoded ahead of the one in work.
PREFETCH = 3


def open_source(spec: int | str | os.PathLike[str]) -> Source:
    """The source a user means: a camera's index (0 or "0"), a clip, a photo, or a folder of photos.

    Raises:
        HandMeshError: nothing there, no such camera, not a clip, no photos in the folder.
    """
    name = os.fspath(spec) if not isinstance(spec, int) else str(spec)
    if name.isdecimal():
        return CameraSource(int(name))
    path = Path(name)
    if path.is_dir():
        return PhotoSource(list_images(path), str(path))
    if not path.exists():
        raise HandMeshError(
            f"expected a camera index, a clip, a photo or a folder of photos, got {path}: no such file; check the path"
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return PhotoSource([path], path.name)
    return ClipSource(path)


class PhotoSource:
    """Photos, one after another. A damaged one among several is named on stderr and skipped."""

    is_live, is_photos, fps = False, True, 0.0

    def __init__(self, files: list[Path], description: str) -> None:
        self.files, self.description = files, description

    def __iter__(self) -> Iterator[SourceFrame]:
        readable = 0
        for index, file in enumerate(self.files):
            try:
                image = read_image(file)
            except HandMeshError as error:
                if len(self.files) == 1:
                    raise
                print(f"skipped: {error}", file=sys.stderr)
                continue
            readable += 1
            yield SourceFrame(float(index), image, file.name, time.perf_counter())
        if not readable:
            raise HandMeshError(
                f"expected photos in {self.description}, got none that can be read; see the lines above"
            )

    def close(self) -> None:
        """Nothing is held."""


class ClipSource:
    """A clip, every frame of it, decoded ahead in a thread so that decoding and inference overlap."""

    is_live, is_photos = False, False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the clip and read its rate and size (HandMeshError when it is not one)."""
        self.path = Path(path)
        self.description = self.path.name
        capture = self._open()
        self.fps = _plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        self.frame_count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        is_readable, _ = capture.read()
        capture.release()
        if not is_readable:
            raise self._error("no frame can be decoded")
        self._stops: list[threading.Event] = []

    def __iter__(self) -> Iterator[SourceFrame]:
        stop = threading.Event()
        self._stops.append(stop)
        frames: queue.Queue[Any] = queue.Queue(PREFETCH)
        worker = threading.Thread(target=self._decode, args=(frames, stop), name="clip decoder", daemon=True)
        worker.start()
        try:
            while True:
                item = frames.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            self._stops.remove(stop)
            worker.join(timeout=5)

    def close(self) -> None:
        """End decoding threads of iterations that were left half-way."""
        for stop in list(self._stops):
            stop.set()

    def _decode(self, frames: queue.Queue[Any], stop: threading.Event) -> None:
        """Worker: put SourceFrames, then None; an exception is put for the reader to raise."""
        last: Any = None
        try:
            capture = self._open()
            previous_s = -1.0
            index = 0
            while not stop.is_set():
                is_read, picture = capture.read()
                if not is_read:
                    break
                timestamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Some containers report no times, or the same twice: then the rate has to do.
                if not timestamp_s > previous_s:
                    timestamp_s = index / self.fps if previous_s < 0 else previous_s + 1 / self.fps
                previous_s, index = timestamp_s, index + 1
                image: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                _put(frames, SourceFrame(timestamp_s, image, "", time.perf_counter()), stop)
            capture.release()
        except Exception as error:
            last = error
        _put(frames, last, stop)

    def _open(self) -> cv2.VideoCapture:
        # FFmpeg writes its own lines on a damaged file; the one that counts is the error below.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise self._error("it is no video that OpenCV can read")
        return capture

    def _error(self, reason: str) -> HandMeshError:
        return HandMeshError(
            f"expected a clip, got {self.path}: {reason}; convert it first (ffmpeg -i {self.path.name} out.mp4)"
        )


def _plausible_fps(fps: float) -> float:
    return float(fps) if 1 <= fps <= 1000 else 30.0


def _put(frames: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    """Put unless the reader has gone."""
    while not stop.is_set():
        try:
            frames.put(item, timeout=0.1)
            return
        except queue.Full:
            continue
