"""Clips and photos as frames, and the choice of a source by what the user named.

Knows files and their decoding. Does not know hands; cameras are camera.py's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from handmesh.errors import HandMeshError
from handmesh.io.camera_source import CameraSource
from handmesh.io.frames import Source, SourceFrame, plausible_fps
from handmesh.io.images import is_photo, list_images, read_image
from handmesh.io.prefetch import Ahead

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
    if is_photo(path):
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
        self.fps = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        is_readable, _ = capture.read()
        capture.release()
        if not is_readable:
            raise self._error("no frame can be decoded")
        self._readings: list[Ahead[SourceFrame]] = []

    def __iter__(self) -> Iterator[SourceFrame]:
        frames = Ahead(self._decode(), PREFETCH, "clip decoder")
        self._readings.append(frames)
        try:
            for frame in frames:
                # A clip's frame is in hand when it is asked for: how far ahead it was decoded says nothing of latency.
                yield replace(frame, grabbed_s=time.perf_counter())
        finally:
            frames.close()
            self._readings.remove(frames)

    def close(self) -> None:
        """End decoding threads of iterations that were left half-way."""
        for frames in list(self._readings):
            frames.close()

    def _decode(self) -> Iterator[SourceFrame]:
        capture = self._open()
        previous_s = -1.0
        while True:
            is_read, picture = capture.read()
            if not is_read:
                break
            timestamp_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Some containers report no times, or the same twice: then the rate has to do.
            if not timestamp_s > previous_s:
                timestamp_s = 0.0 if previous_s < 0 else previous_s + 1 / self.fps
            previous_s = timestamp_s
            image: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            yield SourceFrame(timestamp_s, image)
        capture.release()

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
