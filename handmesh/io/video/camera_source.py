"""A camera, local or of the network, whose newest frame wins: a thread grabs into a slot of one, nothing queues up."""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from handmesh.errors import HandMeshError
from handmesh.io.video.cameras import list_cameras
from handmesh.io.video.frames import SourceFrame, plausible_fps

_LOG = logging.getLogger("handmesh")

#: Beginnings of the addresses that are network cameras.
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp")
#: How long a network camera may take to answer, milliseconds.
_ANSWER_MS = 10_000


def open_capture(address: int | str) -> Any:
    """OpenCV's device, asked for compressed pictures (more frames a second over USB) and the shortest buffer."""
    # FFmpeg has lines of its own for an address that does not answer; it reads this when it is first used.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    # Every backend that finds no device writes lines of its own; ours is the one that counts.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        if isinstance(address, str):
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _ANSWER_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _ANSWER_MS]
            return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        capture = cv2.VideoCapture(address)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    finally:
        cv2.utils.logging.setLogLevel(level)


#: A camera without a picture for so long is reported, seconds; slow ones in the dark give five pictures a second.
QUIET_S = 2.0


#: Cameras whose threads run. What nobody closes is closed when the program ends: Python stops threads that come out of
#: OpenCV then, and C++ takes that for an error and aborts.
_running: set[CameraSource] = set()


@atexit.register
def _close_all() -> None:
    for camera in list(_running):
        camera.close()


class CameraSource:
    """A camera. Frames are stamped when they are grabbed; whoever is slow gets the newest and misses the others.

    A loss (a failed read, a read that blocks) is reported once, and so is the return; frames go on with the same clock.
    """

    is_live, is_photos, frame_count = True, False, 0

    def __init__(
        self,
        address: int | str = 0,
        *,
        patience_s: float = 10.0,
        loss_patience_s: float = 60.0,
        opener: Callable[[Any], Any] = open_capture,
        report: Callable[[str], None] = _LOG.warning,
    ) -> None:
        """Open the camera and wait for its first frame.

        Args:
            address: a number (0 is the first camera), or the address of a network camera (rtsp://, http://, ...).
            patience_s: how long the first picture may take before that is an error.
            loss_patience_s: how long a camera that gave pictures may be gone (stopped, blocked, unplugged) before
                iterating ends, which is reported; what was recorded until then is whole.
            opener: gives the device; replaced in tests.
            report: is given one line for a loss and one for a return.

        Raises:
            HandMeshError: no such camera, or it gives no picture.
        """
        self.address = address
        self.description = f"camera {without_password(address) if isinstance(address, str) else address}"
        self._patience_s, self._loss_patience_s = patience_s, loss_patience_s
        self._opener, self._report = opener, report
        self._slot: SourceFrame | None = None
        self._is_lost = self._has_begun = False
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._start_s = time.perf_counter()
        capture = opener(address)
        if not capture.isOpened():
            capture.release()
            raise HandMeshError(self._absence())
        self.fps = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        self._thread = threading.Thread(target=self._grab, args=(capture,), name=self.description, daemon=True)
        _running.add(self)
        self._thread.start()

    def __iter__(self) -> Iterator[SourceFrame]:
        while (frame := self._take()) is not None:
            yield frame

    def _absence(self) -> str:
        if isinstance(self.address, str):
            return (
                f"expected a network camera at {without_password(self.address)}, got no picture from it; check the "
                "address, its user and password, and that this machine reaches it"
            )
        names = ", ".join(str(camera) for camera in list_cameras())
        there = f"there are: {names}" if names else "none found"
        return (
            f"expected a camera at index {self.address}, got none ({there}); "
            "plug one in, try another index, or name a clip or a folder of photos with --source"
        )

    def _take(self) -> SourceFrame | None:
        """The newest frame once there is one; None when the camera was closed or is gone for good."""
        with self._ready:
            patience_s = self._loss_patience_s if self._has_begun else self._patience_s
            if not self._ready.wait_for(self._has_news, min(QUIET_S, patience_s)):
                self._lose("gives no pictures; waiting for it")
                if not self._ready.wait_for(self._has_news, max(0.0, patience_s - QUIET_S)):
                    self._give_up(patience_s)
                    return None
            frame, self._slot = self._slot, None
            self._has_begun = True
            return None if self._stop.is_set() else frame

    def _has_news(self) -> bool:
        return self._slot is not None or self._stop.is_set()

    def _give_up(self, patience_s: float) -> None:
        if not self._has_begun:
            raise HandMeshError(
                f"expected pictures from {self.description}, got none for {patience_s:g} s; check its cable and that "
                "no other program uses it"
            )
        self._report(f"{self.description} gave no picture for {patience_s:g} s: taken to be gone, ending")

    def _lose(self, what: str) -> None:
        with self._ready:
            if not self._is_lost:
                self._report(f"{self.description} {what}")
            self._is_lost = True

    def close(self) -> None:
        """End the thread and let go of the device."""
        _running.discard(self)
        self._stop.set()
        with self._ready:
            self._ready.notify_all()
        # A device that blocks inside read() cannot be interrupted; its thread is a daemon and dies with us.
        self._thread.join(timeout=2)

    def _grab(self, capture: Any) -> None:
        while not self._stop.is_set():
            picture = _read(capture)
            grabbed_s = time.perf_counter()
            if self._stop.is_set():
                break
            if picture is None:
                self._lose("stopped giving pictures; trying to open it again")
                capture.release()
                if not self._stop.wait(0.5):
                    capture = self._opener(self.address)
                continue
            image: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            with self._ready:
                if self._is_lost:
                    self._report(f"{self.description} is back")
                    self._is_lost = False
                self._slot = SourceFrame(grabbed_s - self._start_s, image, "", grabbed_s)
                self._ready.notify()
        capture.release()


def without_password(address: str) -> str:
    """A network camera's address as it may be shown: without user and password."""
    return re.sub(r"//[^/@]*@", "//", address)


def _read(capture: Any) -> Any:
    """A BGR picture, or None for none, whichever way the device says so."""
    try:
        is_read, picture = capture.read()
    except cv2.error:
        return None
    if not is_read or picture is None or picture.dtype != np.uint8 or not picture.size:
        # Some drivers call an empty picture a good one.
        return None
    if picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1):
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return picture[..., :3] if picture.ndim == 3 and picture.shape[2] in (3, 4) else None
