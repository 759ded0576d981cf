"""A machine's cameras by number and name, from what the kernel says of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from handmesh.errors import HandMeshError
from handmesh.io.video import cameras
from handmesh.io.video.camera_source import CameraSource
from handmesh.io.video.cameras import Camera, list_cameras


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel with a webcam (a device for pictures, one for metadata) and one that this container was not given."""
    for number, name in ((10, "USB Capture\x1b[31m\n"), (2, "HD Webcam\n"), (3, "HD Webcam\n"), (4, "Elsewhere\n")):
        (tmp_path / "sys" / f"video{number}").mkdir(parents=True)
        (tmp_path / "sys" / f"video{number}" / "name").write_text(name)
        (tmp_path / "dev").mkdir(exist_ok=True)
        if number != 4:
            (tmp_path / "dev" / f"video{number}").touch()
    (tmp_path / "sys" / "v4l-subdev0").mkdir()
    monkeypatch.setattr(cameras, "_SYSTEM", tmp_path / "sys")
    monkeypatch.setattr(cameras, "_DEVICES", tmp_path / "dev")
    monkeypatch.setattr(cameras, "_gives_video", lambda device: device.name != "video3")
    return tmp_path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's list is Linux's")
def test_cameras_come_by_number_with_their_names(system: Path) -> None:
    assert [str(camera) for camera in list_cameras()] == ["2 (HD Webcam)", "10 (USB Capture[31m)"]
    with pytest.raises(HandMeshError, match=r"index 97.*2 \(HD Webcam\), 10"):
        CameraSource(97)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's list is Linux's")
def test_no_kernel_list_is_no_camera(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "_SYSTEM", system / "nothing")
    assert list_cameras() == []


def test_a_file_that_is_no_device_gives_no_video(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    assert not cameras._gives_video(tmp_path / "video0")


def test_other_systems_are_asked_through_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    device = pytest.importorskip("av.device")
    monkeypatch.setattr(sys, "platform", "darwin")
    listed = [
        device.DeviceInfo("0", "FaceTime HD", True, ["video"]), device.DeviceInfo("1", "Microphone", False, ["audio"]),
        device.DeviceInfo("2", "Capture screen", False, ["video"]),
    ]  # fmt: skip
    monkeypatch.setattr(device, "enumerate_input_devices", lambda name: listed if name == "avfoundation" else [])
    assert list_cameras() == [Camera(0, "FaceTime HD"), Camera(1, "Capture screen")]
