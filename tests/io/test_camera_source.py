"""A camera made of numbers: the newest frame wins, losses are survived and said, silence is an error."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.video.camera_source import CameraSource, _read


class FakeDevice:
    """Gives pictures whose first pixel counts up; `script` may fail reads, block or delay them, or raise."""

    fps = 30.0

    def __init__(self, script: dict[int, Any] | None = None, is_open: bool = True, period_s: float = 0.002) -> None:
        self.script, self.is_open, self.period_s, self.count = script or {}, is_open, period_s, 0

    def isOpened(self) -> bool:
        return self.is_open

    def get(self, _: int) -> float:
        return self.fps

    def release(self) -> None:
        pass

    def read(self) -> tuple[bool, Any]:
        time.sleep(self.period_s)
        self.count += 1
        action = self.script.get(self.count)
        if action == "fail":
            return False, None
        if action == "block":
            threading.Event().wait(30)
        if isinstance(action, float):
            time.sleep(action)
        if isinstance(action, Exception):
            raise action
        size = (8, 8, 3) if action != "resize" else (4, 4, 3)
        return True, np.full(size, min(self.count, 255), np.uint8)


def test_newest_frame_wins_and_time_rises() -> None:
    camera = CameraSource(0, opener=lambda _: FakeDevice())
    seen = []
    for frame in camera:
        seen.append((int(frame.image[0, 0, 0]), frame.timestamp_s))
        time.sleep(0.02)
        if len(seen) == 4:
            break
    camera.close()
    counts, times = zip(*seen, strict=True)
    assert min(np.diff(counts)) > 2 and min(np.diff(times)) > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "camera 0"]


def test_a_camera_that_fails_and_resizes_comes_back() -> None:
    lines: list[str] = []
    device = FakeDevice({2: "fail", 4: "resize"}, period_s=0.01)
    camera = CameraSource(0, opener=lambda _: device, report=lines.append)
    shapes = [frame.image.shape for frame, _ in zip(camera, range(4), strict=False)]
    camera.close()
    assert (8, 8, 3) in shapes and len(lines) == 2 and "stopped" in lines[0] and "back" in lines[1]


def test_no_camera_and_a_silent_camera() -> None:
    with pytest.raises(HandMeshError, match="index 3.*--source"):
        CameraSource(3, opener=lambda _: FakeDevice(is_open=False))
    camera = CameraSource(0, opener=lambda _: FakeDevice({1: "block"}), patience_s=0.1)
    with pytest.raises(HandMeshError, match="camera 0"):
        next(iter(camera))
    camera.close()


def test_a_camera_that_nobody_closes_does_not_abort_the_program() -> None:
    program = """if True:
        import numpy as np
        from handmesh.io.video.camera_source import CameraSource

        class Device:
            picture = np.zeros((4000, 6000, 3), np.uint8)  # OpenCV is busy with it most of the time
            def isOpened(self): return True
            def get(self, _): return 30.0
            def release(self): pass
            def read(self): return True, self.picture

        next(iter(CameraSource(0, opener=lambda _: Device())))
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_real_opener_says_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HandMeshError, match="index 97"):
        CameraSource(97)
    assert capfd.readouterr().err == ""


def test_a_camera_that_blocks_is_said_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handmesh.io.video.camera_source.QUIET_S", 0.05)
    lines: list[str] = []
    camera = CameraSource(0, opener=lambda _: FakeDevice({3: 0.3}), report=lines.append)
    times = [frame.timestamp_s for frame, _ in zip(camera, range(12), strict=False)]
    camera.close()
    # The gap is in the time stamps, and the clock goes on over it.
    assert len(times) == 12 and max(np.diff(times)) > 0.25 and min(np.diff(times)) > 0
    assert len(lines) == 2 and "waiting" in lines[0] and "back" in lines[1]


def test_a_camera_that_is_gone_for_good_ends_what_it_began() -> None:
    lines: list[str] = []
    device = FakeDevice({count: "fail" for count in range(5, 100)})
    camera = CameraSource(0, opener=lambda _: device, report=lines.append, loss_patience_s=0.2)
    assert 1 <= len(list(camera)) <= 4
    camera.close()
    assert "stopped" in lines[0] and "gone" in lines[-1] and len(lines) == 2


def test_a_device_that_raises_is_a_failed_read() -> None:
    lines: list[str] = []
    device = FakeDevice({2: cv2.error("lost")})
    camera = CameraSource(0, opener=lambda _: device, report=lines.append)
    assert len([frame for frame, _ in zip(camera, range(3), strict=False)]) == 3
    camera.close()
    assert len(lines) == 2


def test_closing_ends_a_wait() -> None:
    camera = CameraSource(0, opener=lambda _: FakeDevice({1: 0.5}))
    threading.Timer(0.05, camera.close).start()
    assert list(camera) == []


@pytest.mark.parametrize(("said", "taken"), [(15, 15), (0, 30), (-1, 30), (1e9, 30), (float("nan"), 30)])
def test_a_rate_that_is_none_is_not_believed(said: float, taken: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDevice, "fps", said)
    camera = CameraSource(0, opener=lambda _: FakeDevice())
    camera.close()
    assert camera.fps == taken


def test_empty_pictures_that_are_called_good_are_losses() -> None:
    for shape in ((0, 0, 3), (4, 0, 3), (4, 4, 2), (4,)):
        assert _read(Saying(np.zeros(shape, np.uint8))) is None
    assert _read(Saying(None)) is None and _read(Saying(np.zeros((4, 4, 3), np.float32))) is None
    assert _read(Saying(np.full((4, 5), 7, np.uint8))).shape == (4, 5, 3)
    assert _read(Saying(np.full((4, 5, 4), 7, np.uint8))).shape == (4, 5, 3)


class Saying:
    """A device that calls whatever it gives a picture."""

    def __init__(self, picture: Any) -> None:
        self.picture = picture

    def read(self) -> tuple[bool, Any]:
        return True, self.picture
