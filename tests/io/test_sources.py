"""Laws of sources: every frame of a clip once and in order, photos by name, and one clear error for each bad input."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.images import write_image
from handmesh.io.sources import ClipSource, PhotoSource, open_source
from handmesh.io.video_writer import ClipWriter


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


def test_photos_come_by_name_and_bad_ones_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("b.png", 2), ("a.png", 1)):
        write_image(tmp_path / name, np.full((4, 6, 3), level, np.uint8))
    (tmp_path / "c.jpg").write_text("no image")
    source = open_source(tmp_path)
    assert source.is_photos
    assert [(frame.name, int(frame.image[0, 0, 0])) for frame in source] == [("a.png", 1), ("b.png", 2)]
    assert "c.jpg" in capsys.readouterr().err
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


def test_a_clip_survives_ctrl_c_and_vanishes_on_errors(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(KeyboardInterrupt), ClipWriter(tmp_path / "stopped.mp4", 25) as writer:
        for _ in range(5):
            writer.write(picture)
        raise KeyboardInterrupt
    assert len(list(open_source(tmp_path / "stopped.mp4"))) == 5
    with pytest.raises(ZeroDivisionError), ClipWriter(tmp_path / "failed.mp4", 25) as writer:
        writer.write(picture)
        raise ZeroDivisionError
    with ClipWriter(tmp_path / "empty.mp4", 25):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["stopped.mp4"]
    with pytest.raises(HandMeshError, match="mp4"):
        ClipWriter(tmp_path / "a.txt", 25)
    assert not threads_named("clip encoder")


class FailingEncoder:
    """OpenCV's writer, of which one method raises."""

    method = ""

    def __init__(self, *_: object) -> None:
        self._do("open")

    @staticmethod
    def fourcc(*_: str) -> int:
        return 0

    def isOpened(self) -> bool:
        return True

    def write(self, _: object) -> None:
        self._do("write")

    def release(self) -> None:
        self._do("release")

    def _do(self, method: str) -> None:
        if method == self.method:
            raise RuntimeError("disk on fire")


@pytest.mark.parametrize("method", ["open", "write", "release"])
@pytest.mark.parametrize("count", [1, 100])
def test_an_encoder_that_fails_is_an_error_not_a_hang(
    method: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailingEncoder, "method", method)
    monkeypatch.setattr("handmesh.io.video_writer.cv2.VideoWriter", FailingEncoder)
    raised: list[BaseException] = []

    def write_all() -> None:
        try:
            with ClipWriter(tmp_path / "a.mp4", 25) as writer:
                for _ in range(count):
                    writer.write(np.zeros((48, 64, 3), np.uint8))
        except BaseException as error:
            raised.append(error)

    # A thread of its own: should it hang, the test fails and ends.
    thread = threading.Thread(target=write_all, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and isinstance(raised[0], HandMeshError) and "disk on fire" in str(raised[0])
    assert not list(tmp_path.iterdir()) and not threads_named("clip encoder")


def test_frames_of_other_sizes_are_fitted(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "a.mp4", 25) as writer:
        for shape in ((49, 65), (98, 130), (20, 20)):
            writer.write(np.full((*shape, 3), 128, np.uint8))
    assert [frame.image.shape for frame in open_source(tmp_path / "a.mp4")] == [(48, 64, 3)] * 3


_INTERRUPTED = """
import random, signal, sys
import numpy as np
from handmesh.io.video_writer import ClipWriter

signal.signal(signal.SIGALRM, signal.default_int_handler)
picture, chance = np.zeros((16, 16, 3), np.uint8), random.Random(0)
for _ in range(1500):
    try:
        with ClipWriter(sys.argv[1], 25.0) as writer:
            writer.write(picture)
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 2e-3))
            while True:
                writer._put(picture)
    except KeyboardInterrupt:
        pass
print("ended")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
def test_ctrl_c_at_any_moment_ends_a_clip(tmp_path: Path) -> None:
    """queue.Queue is left locked by one in some hundred of these."""
    command = [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "clip.avi")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=Path(__file__).parents[2])
    assert done.stdout == "ended\n", done.stderr
