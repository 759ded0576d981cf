"""A camera whose newest frame wins: a thread grabs into a slot of one, so that nothing ever queues up.

Knows OpenCV's capture devices and their failures. Does not know hands.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2

from handmesh.errors import HandMeshError
from handmesh.video.frame import SourceFrame


def open_capture(index: int) -> Any:
    """OpenCV's device, asked for compressed pictures (more frames a second over USB) and the shortest buffer."""
    level = cv2.utils.logging.getLogLevel()
    # Every backend that finds no device writes lines of its own; ours is the one that counts.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(index)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    finally:
        cv2.utils.logging.setLogLevel(level)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class CameraSource:
    """A camera. Frames are stamped when they are grabbed; whoever is slow gets the newest and misses the others."""

    is_live, is_photos = True, False

    def __init__(
        self,
        index: int = 0,
        *,
        patience_s: float = 10.0,
        opener: Callable[[int], Any] = open_capture,
        report: Callable[[str], None] = _say,
    ) -> None:
        """Open the camera and wait for its first frame.

        Args:
            patience_s: how long a camera may give nothing (stopped, blocked, unplugged) before that is an error.
            opener: gives the device; replaced in tests.
            report: where a loss and a return are said.

        Raises:
            HandMeshError: no such camera, or it gives no picture.
        """
        self.index, self.description = index, f"camera {index}"
        self._patience_s, self._opener, self._report = patience_s, opener, report
        self._slot: SourceFrame | None = None
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._start_s = time.perf_counter()
        capture = opener(index)
        if not capture.isOpened():
            capture.release()
            raise HandMeshError(
                f"expected a camera at index {index}, got none; plug one in, try another index, "
                "or name a clip or a folder of photos with --source"
            )
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or 30.0
        self._thread = threading.Thread(target=self._grab, args=(capture,), name=self.description, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[SourceFrame]:
        while not self._stop.is_set():
            with self._ready:
                is_in_time = self._ready.wait_for(
                    lambda: self._slot is not None or self._stop.is_set(), timeout=self._patience_s
                )
                frame, self._slot = self._slot, None
            if frame is not None:
                yield frame
            elif not is_in_time:
                raise HandMeshError(
                    f"expected pictures from {self.description}, got none for {self._patience_s:g} s; check its cable "
                    "and that no other program uses it"
                )

    def close(self) -> None:
        """End the thread and let go of the device."""
        self._stop.set()
        with self._ready:
            self._ready.notify_all()
        # A device that blocks inside read() cannot be interrupted; its thread is a daemon and dies with us.
        self._thread.join(timeout=2)

    def _grab(self, capture: Any) -> None:
        is_lost = False
        while not self._stop.is_set():
            is_read, picture = capture.read()
            grabbed_s = time.perf_counter()
            if not is_read or picture is None:
                if not is_lost:
                    self._report(f"{self.description} stopped giving pictures; trying to open it again")
                is_lost = True
                capture.release()
                self._stop.wait(0.5)
                capture = self._opener(self.index)
                continue
            if is_lost:
                self._report(f"{self.description} is back")
                is_lost = False
            image: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            with self._ready:
                self._slot = SourceFrame(grabbed_s - self._start_s, image, "", grabbed_s)
                self._ready.notify()
        capture.release()
