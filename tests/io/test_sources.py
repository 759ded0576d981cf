"""Laws of sources: what a name means, every frame of a clip once, photos by name, one clear error for bad input."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.io.video import sources
from handmesh.io.video.camera_source import CameraSource
from handmesh.io.video.clip_source import ClipSource
from handmesh.io.video.sources import PhotoSource, open_source
from handmesh.io.video.video_writer import ClipWriter


def make_clip(path: Path, count: int = 20, size: tuple[int, int] = (64, 48)) -> Path:
    """A clip whose frames' brightness counts up."""
    with ClipWriter(path, 25.0) as writer:
        for i in range(count):
            writer.write(np.full((size[1], size[0], 3), 10 + 10 * i, np.uint8))
    return path


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_clip_gives_every_frame_once_in_order(tmp_path: Path) -> None:
    source = open_source(make_clip(tmp_path / "a.mp4"))
    assert isinstance(source, ClipSource) and source.fps == pytest.approx(25) and not source.is_live
    for _ in range(2):
        frames = list(source)
        levels = [frame.image.mean() for frame in frames]
        assert len(frames) == 20 and np.allclose(levels, 10 + 10 * np.arange(20), atol=4)
        assert np.allclose([frame.timestamp_s for frame in frames], np.arange(20) / 25, atol=1e-3)
    assert not threads_named("clip decoder")


def test_a_clip_left_half_way_leaves_no_thread(tmp_path: Path) -> None:
    source = ClipSource(make_clip(tmp_path / "a.mp4"))
    for _ in source:
        break
    iterator = iter(source)
    next(iterator)
    source.close()
    iterator.close()  # type: ignore[attr-defined]
    assert not threads_named("clip decoder")


def test_colours_stay_in_rgb_order(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(np.full((48, 64, 3), (200, 30, 60), np.uint8))
    (frame,) = open_source(tmp_path / "a.mp4")
    assert np.abs(frame.image.mean((0, 1)) - (200, 30, 60)).max() < 12


def test_photos_come_by_name_and_bad_ones_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, level in (("b.png", 2), ("a.png", 1)):
        write_image(tmp_path / name, np.full((4, 6, 3), level, np.uint8))
    (tmp_path / "c.jpg").write_text("no image")
    source = open_source(tmp_path)
    assert source.is_photos
    assert [(frame.name, int(frame.image[0, 0, 0])) for frame in source] == [("a.png", 1), ("b.png", 2)]
    assert "c.jpg" in caplog.text
    assert [frame.name for frame in open_source(tmp_path / "a.png")] == ["a.png"]


def test_bad_sources(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a clip" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "bad.jpg").write_text("no image")
    (tmp_path / "nothing").mkdir()
    for name in ("bad.mp4", "empty.mp4", "missing.mp4", "nothing"):
        with pytest.raises(HandMeshError, match=name):
            open_source(tmp_path / name)
    with pytest.raises(HandMeshError, match="bad.jpg"):
        list(open_source(tmp_path / "bad.jpg"))
    with pytest.raises(HandMeshError, match="none that can be read"):
        list(PhotoSource([tmp_path / "bad.jpg"] * 2, "folder"))


def test_a_truncated_clip_is_an_error_not_a_hang(tmp_path: Path) -> None:
    data = make_clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(HandMeshError, match="cut.mp4"):
        list(open_source(tmp_path / "cut.mp4"))


class Opened:
    """Takes the place of a camera and says what was asked for."""

    def __init__(self, address: Any) -> None:
        self.address = address


def test_what_exists_wins_over_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CameraSource", Opened)
    monkeypatch.chdir(tmp_path)
    assert open_source("2024").address == open_source(2024).address == 2024  # type: ignore[attr-defined]
    write_image(tmp_path / "2024" / "a.png", np.zeros((4, 6, 3), np.uint8))
    make_clip(tmp_path / "a.mp4").rename(tmp_path / "1")
    assert isinstance(open_source("2024"), PhotoSource) and isinstance(open_source("1"), ClipSource)
    assert open_source(1).address == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["rtsp://user:word@host/stream", "http://host:8080/video", "RTSP://host/1"])
def test_addresses_are_network_cameras(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CameraSource", Opened)
    assert open_source(address).address == address  # type: ignore[attr-defined]


def test_a_device_file_is_its_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CameraSource", Opened)
    monkeypatch.setattr(sources, "_mode", lambda path: stat.S_IFCHR)
    assert open_source("/dev/video3").address == 3  # type: ignore[attr-defined]
    monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/video5")
    assert open_source("/dev/v4l/by-id/webcam").address == 5  # type: ignore[attr-defined]
    monkeypatch.setattr(os.path, "realpath", lambda path: "/dev/null")
    with pytest.raises(HandMeshError, match="--list-cameras"):
        open_source("/dev/null")


@pytest.mark.parametrize("name", ["/dev/video97", "ftp://host/a.mp4", "no\0name", "x" * 5000, "99999999999", ""])
def test_names_of_nothing_are_one_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HandMeshError, match="expected"):
        open_source(name)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(HandMeshError, match="it is no file"):
        open_source(tmp_path / "pipe.mp4")


def test_a_network_cameras_password_is_never_shown() -> None:
    with pytest.raises(HandMeshError) as raised:
        CameraSource("rtsp://me:secret@127.0.0.1:9/x")
    assert "rtsp://127.0.0.1:9/x" in str(raised.value) and "secret" not in str(raised.value)
